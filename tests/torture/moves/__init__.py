"""Queues that move between stores while everything around them is killed: harness, load, judge and the runs."""
