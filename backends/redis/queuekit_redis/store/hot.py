"""exchange, renew, recover: what workers do all the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from queuekit.domain.outcome import Ask, Exchange, Hold, Kind, Op, Outcome, Recovery, Renewal
from queuekit_redis.records import given, lines, pack_items, pack_outcome
from queuekit_redis.replies import exchanged, recovered, renewed
from queuekit_redis.store.base import Base, bounded

_COMPLETED: Final = Kind.COMPLETED  # looking it up costs 0.1 us a job


class HotPath(Base):
    async def exchange(self, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        """One script; see exchange.lua. Plain completions travel as three arguments each."""
        bounded(len(outcomes), "outcomes")
        bounded(ask.want, "claims")
        plain: list[bytes] = []
        others: list[bytes] = []
        seen: set[str] = set()
        limit, tokens = self._limit, dict[str, bytes]()
        for outcome in outcomes:
            name, token, result = outcome.id, outcome.token, outcome.result
            large = result is not None and len(result) > limit
            if large or name in seen or not _is_plain(outcome):
                others += pack_outcome(outcome, large)
            else:
                packed = tokens.get(token)
                if packed is None:
                    packed = tokens[token] = token.encode()
                plain += (name.encode(), packed, result or b"")
            seen.add(name)
        reply = await self._call("exchange", queue, [
            op.actor.encode(), op.n, self._moved(), ask.want, ask.lease, 1 if ask.suspect else 0, ask.worker.encode(),
            len(plain) // 3, *plain, *others,
        ])  # fmt: skip
        return exchanged(queue, op, ask, outcomes, reply)

    async def renew(self, queue: str, holds: Sequence[Hold], lease: int, actor: str = "", upto: int = 0) -> Renewal:
        """One script; see renew.lua. There are no strays: a repeated exchange answers from the actor's record."""
        args: list[bytes | int] = [self._moved(), lease]
        for hold in holds:
            args += (
                hold.id.encode(), hold.token.encode(), given(hold.progress), lines(len(hold.logs), hold.start),
                pack_items(hold.logs),
            )  # fmt: skip
        return renewed(await self._call("renew", queue, args))

    async def recover(self, queue: str, limit: int = 100, every: int = 5000) -> Recovery:
        """One script; see recover.lua."""
        return recovered(await self._call("recover", queue, [self._moved(), limit, every]))


def _is_plain(outcome: Outcome) -> bool:
    return (
        outcome.kind is _COMPLETED and outcome.result != b"" and outcome.keep is None and outcome.error is None
        and outcome.reason is None and outcome.progress is None and not outcome.logs
    )  # fmt: skip
