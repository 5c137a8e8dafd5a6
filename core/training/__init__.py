"""Training: what operators decided goes back into the model."""
