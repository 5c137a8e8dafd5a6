"""Detectors: batches of labelled frames, what judges them, and training without labels before."""
