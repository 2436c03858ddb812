"""Pure operations on images."""
