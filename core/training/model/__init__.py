"""Models that trainings start from and register."""
