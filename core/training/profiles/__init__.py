"""Networks on radial profiles."""
