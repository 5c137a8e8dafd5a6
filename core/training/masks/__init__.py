"""Networks that tell every pixel's class, and rounds with masks of doubtful quality."""
