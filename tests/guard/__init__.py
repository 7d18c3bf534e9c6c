"""What a job costs, in things that can be counted: commands, round trips, documents, statements, calls. Never seconds.

The figures and their ceilings are in budgets.toml; `python -m tests.guard` measures and writes it anew.
"""
