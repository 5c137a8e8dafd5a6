"""The screens: the one that triage happens on, and those that open over it."""
