"""Statistics on plain sequences: tests, intervals, drift, sequential stopping."""
