"""Training of classifiers of radial profiles."""
