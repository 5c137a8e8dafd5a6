"""The parts of the main screen, one module each."""
