"""Stages: each scores a batch and passes on what survives. They know no files and no session."""
