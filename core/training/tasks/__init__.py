"""Training tasks, one folder a kind of network."""
