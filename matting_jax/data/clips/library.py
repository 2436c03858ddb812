"""PyAV, imported when the first clip is opened."""

from __future__ import annotations

from typing import Any


def pyav() -> Any:
    """Returns PyAV; raises ImportError that says how to install it.

    Its logging stays off: FFmpeg's threads would wait for Python while Python waits for them.
    """
    try:
        import av  # slow to import, and only for clips
    except ImportError as error:
        raise ImportError("clips need PyAV: pip install 'matting_jax[video]'") from error
    return av


def reason_of(error: Exception) -> str:
    """Returns what an error of PyAV says, without the name of the file."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def exact() -> Any:
    """Returns how colours are converted: FFmpeg's default is off by up to 4 of 255, this by 2."""
    way = pyav().video.reformatter.Interpolation
    return way.BILINEAR | way.ACCURATE_RND | way.FULL_CHR_H_INT
