"""Foreground colours and denoised copies, computed once and cached."""
