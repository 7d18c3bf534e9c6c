"""The fixtures that queuekit ships for its users serve these tests too."""

from queuekit.testing.plugin import clock, kit

__all__ = ["clock", "kit"]
