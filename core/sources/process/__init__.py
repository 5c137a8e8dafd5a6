"""Reader processes, which isolate a run from a bad file."""
