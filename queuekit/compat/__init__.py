"""The names of other systems over the API of this one, for those who come from them: Bull(MQ) and Agenda.

Thin on purpose: what a name here does, the public API does under its own.
"""

from queuekit.compat.current import use

__all__ = ["use"]
