"""Chunks of an HDF5 data set, read and decoded without libhdf5."""
