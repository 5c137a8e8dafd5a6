"""Labels and decisions: journals, label tables, audit draws."""
