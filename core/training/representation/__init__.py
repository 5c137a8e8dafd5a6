"""How far what is learned from stands for the beamtime."""
