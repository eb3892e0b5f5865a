"""Order, concurrency and resumption; no device knowledge, no statistics."""
