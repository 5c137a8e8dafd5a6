"""Results of a session: the data base, its rows, lists and pictures."""
