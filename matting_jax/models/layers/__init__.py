"""Layers that networks share, in forms that are exact and fast."""
