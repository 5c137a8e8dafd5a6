"""Trainings of a session as other processes see them."""
