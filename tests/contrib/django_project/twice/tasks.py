"""Another `send_receipt`."""

from queuekit.contrib.django import kit


@kit.task
def send_receipt() -> None:
    """Do nothing."""
