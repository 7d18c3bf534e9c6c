"""What a process is told from outside, as one frozen value. Public names only; each idea has its own file here."""

from queuekit.domain.redact import redact
from queuekit.settings.choice import EXTRAS, PROVIDERS, kind, side_names
from queuekit.settings.files import unread_env_file
from queuekit.settings.load import Settings
from queuekit.settings.table import VARIABLES, log_levels

__all__ = [
    "EXTRAS", "PROVIDERS", "VARIABLES", "Settings", "kind", "log_levels", "redact", "side_names", "unread_env_file",
]  # fmt: skip
