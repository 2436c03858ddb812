"""The folder of a run: its config, checkpoints and logs."""
