"""A network that is added to the library through its own files only."""
