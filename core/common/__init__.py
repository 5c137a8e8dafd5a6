"""The bottom floor of core: errors, whole files, locks, worker processes, ranges of indices, safe tables."""
