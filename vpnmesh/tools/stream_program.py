"""Two streams of numbered, timed records between two pods, as an application would have them: UDP, and TCP beside it.

A program of its own: its text is handed to the nodes' python3, whose library is all that it needs.
`receive PORT SECONDS` prints `ready`, then a line for every record that came: `u` or `t`, its number, when it was sent,
and when it came, both in microseconds of the sender's and of the receiver's own monotonic clock; `c` is a TCP
connection that was taken. `send ADDRESS PORT SECONDS UDP_PER_S TCP_PER_S` prints at its end what it sent, as JSON.
Both end by themselves after their seconds, and at TERM.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

from vpnmesh.tools.program_frame import READY, EndedError, end, say

RECORD = struct.Struct("!IQ")
UDP_BYTES, TCP_BYTES = 64, 200
MOST_WAITING = 1 << 20
"""So many bytes of TCP may wait for the kernel; what an application would have to say then is lost."""
DIAL_S, DIAL_EVERY_S = 3.0, 0.5


def now_us() -> int:
    """The machine's own time, which nobody sets."""
    return time.monotonic_ns() // 1000


def record(number: int, size: int) -> bytes:
    """One record, padded."""
    return RECORD.pack(number, now_us()).ljust(size, b".")


def receive(port: str, limit_s: str) -> None:
    """Say of every record when it came."""
    datagrams, door = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    for one in (datagrams, door):
        one.bind(("", int(port)))
        one.settimeout(0)
    door.listen()
    halves: dict[socket.socket, bytearray] = {}
    say(READY)
    deadline = time.monotonic() + float(limit_s)
    while (left := deadline - time.monotonic()) > 0:
        sys.stdout.flush()
        for one in select.select([datagrams, door, *halves], [], [], left)[0]:
            if one is datagrams:
                drain(datagrams)
            elif one is door:
                taken = door.accept()[0]
                taken.settimeout(0)
                halves[taken] = bytearray()
                sys.stdout.write(f"c 0 0 {now_us()}\n")
            elif not take(one, halves[one]):
                del halves[one]
                one.close()


def drain(datagrams: socket.socket) -> None:
    """All datagrams that are there."""
    with contextlib.suppress(BlockingIOError):
        while True:
            content = datagrams.recv(2048)
            if len(content) >= RECORD.size:
                tell("u", content)


def take(one: socket.socket, half: bytearray) -> bool:
    """The records that a connection has whole by now; False once it has ended."""
    try:
        content = one.recv(1 << 16)
    except BlockingIOError:
        return True
    except OSError:
        return False
    half += content
    while len(half) >= TCP_BYTES:
        tell("t", half)
        del half[:TCP_BYTES]
    return bool(content)


def tell(kind: str, content: bytes | bytearray) -> None:
    """One line."""
    number, sent_us = RECORD.unpack_from(content)
    sys.stdout.write(f"{kind} {number} {sent_us} {now_us()}\n")


class TcpStream:
    """Small writes by the clock over one connection, which is made anew where it breaks."""

    def __init__(self, target: tuple[str, int], per_s: float) -> None:
        self.target, self.every_s = target, 1 / per_s
        self.written = self.connections = self.broken = 0
        self.ended = threading.Event()
        self.waiting = bytearray()
        self.link: socket.socket | None = None

    def run(self) -> None:
        """Write until it is ended; the number of a record is its place by the clock."""
        self.dial()
        begun, number = time.monotonic(), 0
        while not self.ended.wait(max(0.0, begun + number * self.every_s - time.monotonic())):
            if len(self.waiting) < MOST_WAITING:
                self.waiting += record(number, TCP_BYTES)
            number += 1
            self.written = number
            try:
                self.push()
            except OSError:
                self.drop()
        self.drop()

    def push(self) -> None:
        """Hand the kernel what it takes."""
        if self.link is None:
            self.dial()
        elif self.waiting:
            with contextlib.suppress(BlockingIOError):
                sent = self.link.send(self.waiting)
                del self.waiting[:sent]

    def dial(self) -> None:
        """Connect; what was written for a former connection is lost, or a record would be cut in two."""
        link = socket.socket()
        try:
            link.settimeout(DIAL_S)
            link.connect(self.target)
        except OSError:
            link.close()
            self.ended.wait(DIAL_EVERY_S)
            return
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.settimeout(0)
        self.link = link
        self.connections += 1
        self.waiting.clear()

    def drop(self) -> None:
        """Give the connection up."""
        if self.link is not None:
            self.link.close()
            self.link = None
            self.broken += not self.ended.is_set()


def send(address: str, port: str, limit_s: str, udp_per_s: str, tcp_per_s: str) -> None:
    """Send both streams, and say how much at the end."""
    target, every_s = (address, int(port)), 1 / float(udp_per_s)
    tcp = TcpStream(target, float(tcp_per_s))
    beside = threading.Thread(target=tcp.run, daemon=True)
    datagrams = socket.socket(type=socket.SOCK_DGRAM)
    datagrams.settimeout(0)
    beside.start()
    sent = refused = 0
    begun = last = time.monotonic()
    pause_s = 0.0
    try:
        while (now := time.monotonic()) < begun + float(limit_s):
            pause_s, last = max(pause_s, now - last), now
            try:
                datagrams.sendto(record(sent, UDP_BYTES), target)
            except OSError:
                refused += 1
            sent += 1
            time.sleep(max(0.0, begun + sent * every_s - time.monotonic()))
    except EndedError:
        pass
    tcp.ended.set()
    # timeout(1) kills 2 s after TERM, and a dial may last longer
    beside.join(1)
    said = {
        "udp_sent": sent,
        "udp_refused": refused,
        "tcp_written": tcp.written,
        "tcp_connections": tcp.connections,
        "tcp_broken": tcp.broken,
        "longest_pause_s": round(pause_s, 4),
    }
    say(json.dumps(said))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    roles: dict[str, Callable[..., None]] = {"receive": receive, "send": send}
    with contextlib.suppress(EndedError):
        roles[sys.argv[1]](*sys.argv[2:])
    with contextlib.suppress(OSError, EndedError):
        sys.stdout.flush()
