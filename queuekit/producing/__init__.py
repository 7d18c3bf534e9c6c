"""How a call becomes jobs: signatures, payloads, access to stores; behind `kit`, `task`, `queue` and `handle`."""
