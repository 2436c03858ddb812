"""Programs that measure time and memory: python -m matting_jax.benchmark.NAME."""
