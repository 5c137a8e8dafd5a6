"""The comparisons of the published study of single-particle imaging, made again on simulated beamtimes."""
