"""A one-way meter for the engines' tests: `send` numbered, stamped datagrams, or `receive` and judge them.

CLOCK_MONOTONIC is one clock for all namespaces of a machine, so one-way delay needs no synchronisation.
"""

import json
import socket
import statistics
import struct
import sys
import time

STAMP = struct.Struct("!IQ")
QUIET_S = 1.0
SO_RCVBUFFORCE = 33


def send(address: str, port: int, count: int, per_second: int) -> None:
    """Send `count` datagrams at a steady pace."""
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.connect((address, port))
    start = time.monotonic_ns()
    for number in range(count):
        while time.monotonic_ns() < start + number * 1_000_000_000 // per_second:
            pass
        out.send(STAMP.pack(number, time.monotonic_ns()))


def receive(port: int, wait_s: float) -> None:
    """Print what came until a second of silence: how many, in order or not, median and extreme delays in ms."""
    inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inbox.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    inbox.bind(("0.0.0.0", port))
    inbox.settimeout(wait_s)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    numbers, delays = [], []
    try:
        while True:
            number, stamp = STAMP.unpack(inbox.recv(64))
            delays.append((time.monotonic_ns() - stamp) / 1e6)
            numbers.append(number)
            inbox.settimeout(QUIET_S)
    except TimeoutError:
        pass
    sys.stdout.write(
        json.dumps(
            {
                "received": len(numbers),
                "in_order": numbers == sorted(numbers),
                "median_ms": statistics.median(delays) if delays else None,
                "min_ms": min(delays, default=None),
                "max_ms": max(delays, default=None),
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        receive(int(sys.argv[2]), float(sys.argv[3]))
