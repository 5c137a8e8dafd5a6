"""Parts that all file formats share."""
