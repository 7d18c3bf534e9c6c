"""The Redis store of queuekit, found by the entry-point group `queuekit.backends`."""
