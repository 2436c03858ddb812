"""Small data sets in the folder layout of their owners."""
