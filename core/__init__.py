"""Files, engine, session and metrics: everything that needs no screen."""
