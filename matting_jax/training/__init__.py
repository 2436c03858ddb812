"""Training: the loop, its step and state, and what a run shows."""
