"""Training of patch classifiers and finders."""
