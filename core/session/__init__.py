"""The session directory: the one thing that engine and screens share."""
