"""Scores of networks and of finished alphas."""
