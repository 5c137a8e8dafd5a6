"""Model files: opening, import from PyTorch, export to ONNX, summaries."""
