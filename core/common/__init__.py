"""Helpers without a subject of their own: errors, files, locks, ranges of indices."""
