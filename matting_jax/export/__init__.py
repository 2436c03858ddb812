"""A network with its weights as a file for other runtimes."""
