"""The terminal: painting, bandwidth, capabilities."""
