"""The first lines of the installed command: Ctrl-C waits until everything is imported, then ends it cleanly.

Installed beside the package, as `queuekit_door`: inside it, Python would import the whole package first. Decision 065.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        import signal  # here: even this import can be interrupted

        # An interrupt inside the import of a compiled module can crash the interpreter (seen: SIGSEGV after 0.15 s).
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        from queuekit.cli import app

        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        app.run()
    except KeyboardInterrupt:
        sys.exit(130)
