"""matting_jax: published networks for image matting in JAX and Flax.

The public names are imported when they are first used, so that `import matting_jax` is fast.
"""

import importlib

__version__ = "0.1.0"

PUBLIC = {
    "create_model": "models",
    "from_state_dict": "convert",
    "to_state_dict": "convert",
    "load_checkpoint": "convert",
    "Matter": "prediction.matter",
    "load": "prediction.load",
}
__all__ = [*PUBLIC, "metrics", "__version__"]


def __getattr__(name: str):
    if name == "metrics":
        return importlib.import_module("matting_jax.metrics")
    if name in PUBLIC:
        return getattr(importlib.import_module(f"matting_jax.{PUBLIC[name]}"), name)
    raise AttributeError(f"module 'matting_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
