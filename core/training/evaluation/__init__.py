"""Scores and losses of a training."""
