"""Honest numbers: a random sample of known probability, and what can be said of all frames from it."""
