"""Command line and screens."""
