"""What process servers, loops and greenlets do to a producer and to a worker: tried with the real servers."""
