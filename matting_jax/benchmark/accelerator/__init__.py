"""Measures networks, training steps and the forms of layers on an accelerator."""
