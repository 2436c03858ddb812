"""What an accelerator takes for networks, training steps and the forms of layers."""
