"""A one-way meter for the engines' tests: `send` numbered, stamped datagrams, or `receive` and judge them.

All namespaces of a machine have one clock, so one-way delay needs no synchronisation. The kernel stamps what comes: how
long a busy machine keeps the receiver waiting is no delay of the path.
"""

import contextlib
import json
import os
import socket
import statistics
import struct
import sys
import threading
import time

STAMP = struct.Struct("!IQ")
QUIET_S = 3.0
"""How long after the sender's end and the last datagram nothing more is expected: many times the longest delay."""
CATCH_UP_NS = 10_000_000
"""What a sender that was kept waiting sends at once is no longer than this at its pace, or it would fill queues."""
# <asm-generic/socket.h>: Python does not name them
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
TIMESPEC = struct.Struct("qq")


def send(address: str, port: int, count: int, per_second: int, size: int) -> None:
    """Send `count` datagrams of `size` bytes at a steady pace, later where the machine is busy."""
    out = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    out.connect((address, port))
    due = time.monotonic_ns()
    for number in range(count):
        while (now := time.monotonic_ns()) < due:
            pass
        due = max(due, now - CATCH_UP_NS) + 1_000_000_000 // per_second
        out.send(STAMP.pack(number, time.time_ns()).ljust(size, b"."))


def receive(port: int, count: int, family: socket.AddressFamily = socket.AF_INET) -> None:
    """Print what came: how many, how many came after a later one, quartiles and extremes of the delays in ms, how many
    runs of losses there were, how many packets took less than half the median, from when to when they came.

    Ends when all have come, or QUIET_S after both the end of standard input, by which the sender's end is told, and
    the last datagram; a sender that a busy machine keeps waiting is no end.
    """
    # so that no queue of its socket fills up
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    inbox = socket.socket(family, socket.SOCK_DGRAM)
    inbox.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    inbox.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    inbox.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    inbox.settimeout(0.1)
    sent = threading.Event()
    threading.Thread(target=await_end, args=(sent,), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    numbers: list[int] = []
    delays: list[float] = []
    came: list[float] = []
    quiet_since = time.monotonic()
    while len(numbers) < count:
        try:
            content, notes, _, _ = inbox.recvmsg(64, socket.CMSG_SPACE(TIMESPEC.size))
        except TimeoutError:
            if not sent.is_set():
                quiet_since = time.monotonic()
            if time.monotonic() - quiet_since > QUIET_S:
                break
            continue
        number, sent_ns = STAMP.unpack_from(content)
        seconds, nanoseconds = TIMESPEC.unpack(notes[0][2])
        came_ns = seconds * 1_000_000_000 + nanoseconds
        came.append(came_ns / 1e6)
        delays.append((came_ns - sent_ns) / 1e6)
        numbers.append(number)
        quiet_since = time.monotonic()
    middle = statistics.median(delays) if delays else 0.0
    sys.stdout.write(
        json.dumps(
            {
                "received": len(numbers),
                "overtaken": overtaken(numbers),
                "median_ms": middle if delays else None,
                "quartiles_ms": statistics.quantiles(delays) if len(delays) > 1 else None,
                "early": sum(delay < middle / 2 for delay in delays),
                "lost_runs": lost_runs(set(numbers), count),
                "span_ms": came[-1] - came[0] if came else None,
                "min_ms": min(delays, default=None),
                "max_ms": max(delays, default=None),
            }
        )
    )


def await_end(sent: threading.Event) -> None:
    """Say when standard input has ended."""
    sys.stdin.read()
    sent.set()


def overtaken(numbers: list[int]) -> int:
    """How many came after one that was sent later."""
    latest, found = -1, 0
    for number in numbers:
        found += number < latest
        latest = max(latest, number)
    return found


def lost_runs(numbers: set[int], count: int) -> int:
    """How many runs of numbers below `count` are missing."""
    return sum(number not in numbers and (number == 0 or number - 1 in numbers) for number in range(count))


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], *map(int, sys.argv[3:7]))
    else:
        receive(int(sys.argv[2]), int(sys.argv[3]), socket.AF_INET6 if sys.argv[4:] else socket.AF_INET)
