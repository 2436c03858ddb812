"""Small data sets, laid out as their owners send them."""
