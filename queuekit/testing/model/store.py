"""The model store: its families put together."""

from __future__ import annotations

from queuekit.domain.query import Pong
from queuekit.store.protocol import Capabilities
from queuekit.testing.model.alter import Alter
from queuekit.testing.model.control import Control
from queuekit.testing.model.hot import HotPath
from queuekit.testing.model.moving import Moving
from queuekit.testing.model.notify import Notify
from queuekit.testing.model.read import Read
from queuekit.testing.model.schedules import Schedules


class ModelStore(Schedules, HotPath, Read, Alter, Control, Moving, Notify):
    """Every core family over one ModelWorld. Thread-safe; stores of one world see the same jobs."""

    capabilities = Capabilities(parts=frozenset({"unique", "mover", "schedules"}), strays=True)

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to give back: the world goes with its last user."""

    async def ping(self) -> Pong:
        """Always there."""
        return Pong(now=self.world.now(), server="model", store_id=self.world.store_id, schema=1, where="memory")
