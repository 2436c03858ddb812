"""Alphas of photos: a network with its weights and its test-time rule."""
