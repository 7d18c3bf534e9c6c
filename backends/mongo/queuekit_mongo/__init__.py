"""The MongoDB store of queuekit; `backend` is what the entry point loads. Importing it connects to nothing."""

from queuekit_mongo.backend import backend

__all__ = ["backend"]
