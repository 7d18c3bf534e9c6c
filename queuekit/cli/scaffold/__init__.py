"""`queuekit init` and `queuekit new queue`: the first files of a project, and a queue more.

What is written is in `templates`; nothing here asks a store or imports the user's code.
"""

from queuekit.cli.scaffold.commands import init, new

__all__ = ["init", "new"]
