"""Sends a marker, answers it, or listens for it; sent to nodes as text (`python3 -I -c`), of Python's own alone.

`listen` counts the packets and bytes of interfaces, and those packets with the marker in them, and keeps nothing of
them. `answer` gives back what comes to a port by UDP or TCP, `send` sends there. Each prints one line of JSON, the
first two when they get TERM; all end by themselves.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

from vpnmesh.tools.program_frame import FAILED, READY, EndedError, dropped, end, say, tap

PAYLOAD_BYTES = 512
EVERY_S = 0.01
WAIT_S = 5.0
MOST_BYTES = 1 << 30


def take(heard: socket.socket, count: dict[str, int], marker: bytes) -> None:
    """Count what is there."""
    while count["bytes"] < MOST_BYTES:
        try:
            frame = heard.recv(1 << 17)
        except BlockingIOError:
            return
        count["packets"] += 1
        count["bytes"] += len(frame)
        count["marked"] += marker in frame


def listen(marker: bytes, limit_s: float, *interfaces: str) -> dict[str, dict[str, int]]:
    """Count until TERM or the limit, by interface; `dropped` are frames that came too fast to be looked at."""
    taps = {name: tap(name, socket.SOCK_RAW) for name in interfaces}
    counts = {name: {"packets": 0, "bytes": 0, "marked": 0, "dropped": 0} for name in interfaces}
    deadline = time.monotonic() + limit_s
    try:
        say(READY)
        while (left := deadline - time.monotonic()) > 0:
            select.select(list(taps.values()), [], [], left)
            for name, heard in taps.items():
                take(heard, counts[name], marker)
    except EndedError:
        pass
    for name, heard in taps.items():
        take(heard, counts[name], marker)
        counts[name]["dropped"] = dropped(heard)
    return counts


def answer(marker: bytes, limit_s: float, port: str) -> dict[str, int]:
    """Give back what comes until TERM or the limit; how many bytes came with the marker, by protocol."""
    datagrams, door = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for one in (datagrams, door):
        one.bind(("", int(port)))
    door.listen()
    came, open_ones = {"udp": 0, "tcp": 0}, {datagrams, door}
    deadline = time.monotonic() + limit_s
    try:
        say(READY)
        while (left := deadline - time.monotonic()) > 0:
            for one in select.select(list(open_ones), [], [], left)[0]:
                if one is door:
                    open_ones.add(door.accept()[0])
                elif one is datagrams:
                    content, sender = datagrams.recvfrom(1 << 16)
                    came["udp"] += len(content) if marker in content else 0
                    datagrams.sendto(content, sender)
                elif content := one.recv(1 << 16):
                    came["tcp"] += len(content)
                    one.sendall(content)
                else:
                    open_ones.discard(one)
                    one.close()
    except EndedError:
        pass
    return came


def back_from(one: socket.socket, wanted: int, until: float) -> int:
    """How many bytes came back, all that are wanted or what came by then."""
    got = 0
    while got < wanted and select.select([one], [], [], max(0.0, until - time.monotonic()))[0]:
        content = one.recv(1 << 16)
        got += len(content)
        if not content:
            break
    return got


def send(marker: bytes, limit_s: float, address: str, port: str, times: str) -> dict[str, int]:
    """Send it that often by UDP and by TCP; how many bytes were sent, and how many came back."""
    payload = (marker * (PAYLOAD_BYTES // len(marker) + 1))[:PAYLOAD_BYTES]
    target, sent = (address, int(port)), len(payload) * int(times)
    found = {"sent": sent}
    for name, kind in (("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)):
        with socket.socket(type=kind) as one:
            one.settimeout(limit_s / 3)
            one.connect(target)
            if name == "tcp":
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(int(times)):
                one.send(payload)
                time.sleep(EVERY_S)
            found[name] = back_from(one, sent, time.monotonic() + WAIT_S)
    return found


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    role, text, limit, *rest = sys.argv[1:]
    roles: dict[str, Callable[..., object]] = {"listen": listen, "answer": answer, "send": send}
    try:
        said = json.dumps(roles[role](text.encode(), float(limit), *rest))
    except OSError as error:
        # whoever waits for a word gets one: the channel stays open though this program has ended
        said = f"{FAILED}{error}"
    say(said)
