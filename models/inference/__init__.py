"""Inference: devices, precisions, batches, CUDA graphs."""
