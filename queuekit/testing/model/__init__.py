"""The seam in plain Python: the executable specification that every store is compared with. Not for production."""

from queuekit.testing.model.store import ModelStore
from queuekit.testing.model.world import ModelWorld

__all__ = ["ModelStore", "ModelWorld"]
