"""Alphas of clips: decoded, predicted and encoded frame by frame."""
