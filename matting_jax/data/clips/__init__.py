"""Reads clips, folders of numbered frames and cameras, one frame at a time."""
