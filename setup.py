"""Packages the folders `configs` and `datasets` of the checkout within matting_jax."""

from setuptools import find_packages, setup

SHIPPED = ("configs", "datasets")

setup(
    packages=[*find_packages(include=["matting_jax*"]), *(f"matting_jax.{x}" for x in SHIPPED)],
    package_dir={f"matting_jax.{folder}": folder for folder in SHIPPED},
    package_data={
        "matting_jax": ["py.typed"],
        "matting_jax.configs": ["sweeps/*.py"],
        "matting_jax.datasets": ["*/*.py"],
    },
)
