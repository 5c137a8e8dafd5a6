"""Losses that belong to no one network."""
