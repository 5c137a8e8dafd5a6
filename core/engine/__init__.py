"""The engine: a process of its own that reads files, runs the stages and records what they say."""
