"""LeNet, U-Net and radial networks, and the kinds of stage that use networks."""
