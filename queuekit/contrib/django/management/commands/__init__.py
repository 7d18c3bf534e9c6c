"""One: queuekit."""
