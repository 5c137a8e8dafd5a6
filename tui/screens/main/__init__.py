"""The main screen: its controllers, each with keys and state of its own."""
