"""A beamtime made of known truth, for demonstrations, training and tests."""
