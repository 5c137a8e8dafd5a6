"""Darknet YOLOv2 and YOLOv3: cfg files, layers, losses, weights."""
