"""What a trained network is told to be worth."""
