"""`queuekit bench`: measure the chosen store on this machine. Metrics, children and printing have a file each."""

from queuekit.cli.bench.command import bench

__all__ = ["bench"]
