"""The view model: what the screens show, read from the session in the background."""
