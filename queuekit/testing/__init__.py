"""The shipped testing kit. Nothing else in queuekit imports it."""
