"""HDF5 files: data sets, axes, links, masks."""
