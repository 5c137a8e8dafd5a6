"""What the trainings of all networks but detectors share: the job, and what a network begins with."""
