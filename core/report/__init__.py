"""What a session came to, on one page."""
