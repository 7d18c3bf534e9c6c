"""The agents of a worker, one small file each. `worker.py` puts them together; none knows which store it has."""
