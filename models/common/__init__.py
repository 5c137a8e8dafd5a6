"""Parts that all networks share: errors, checkpoints, tiles."""
