"""`queuekit demo`: real work on the chosen store, one job a file.

The parts are files, tasks, hand, report and command.
"""

from queuekit.cli.demo.command import demo

__all__ = ["demo"]
