"""What is learned from: images, labelled and simulated frames, their truth, and what is held back."""
