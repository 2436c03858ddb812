"""The names of the tiny networks."""

from tests.names.tiny import names_of

__all__ = ["names_of"]
