"""When a schedule fires: pure functions of (moment, anchor), in ms UTC. No clock, no store."""

from queuekit.domain.timetable.table import Timetable, Turn
from queuekit.domain.timetable.values import slot_name

__all__ = ["Timetable", "Turn", "slot_name"]
