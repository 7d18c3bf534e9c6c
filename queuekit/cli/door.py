"""The first lines of the installed command: Ctrl-C is caught before anything of queuekit is imported.

Installed beside the package, as `queuekit_door`: inside it, Python would import the whole package first. Decision 065.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from queuekit.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
