"""The command line for `python -m queuekit.cli.main` and for tests; the installed command comes in through `door`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; ends the process with an exit code of `queuekit.cli.exits`."""
    try:
        from queuekit.cli import app  # here, because importing takes a tenth of a second in which Ctrl-C may come

        app.run(sys.exit)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
