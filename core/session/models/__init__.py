"""Models of a session: the catalog, comparison, promotion."""
