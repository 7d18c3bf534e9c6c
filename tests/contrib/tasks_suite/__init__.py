"""Somebody else's tests of a task backend, run against ours: those that Django ships with its tasks framework.

`python -m tests.contrib.tasks_suite` fetches them with pip and keeps nothing of them here.
"""
