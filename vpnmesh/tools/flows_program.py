"""Counts packets by flow at a node's interfaces; sent to nodes as text (`python3 -I -c`), of Python's own alone.

A flow is an interface, a protocol, source and destination, and the ports that are not passing ones. Only headers are
looked at, and the names that DNS questions ask for; nothing else is kept of what is in the packets. The interface `any`
is all of the node's. It prints one line of JSON when it gets TERM, or ends by itself.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import struct
import sys
import time

from vpnmesh.tools.program_frame import FAILED, IPV4, IPV6, READY, EndedError, dropped, end, say, tap

MOST_FLOWS, MOST_NAMES = 4096, 64
TCP, UDP = 6, 17
DNS, DNS_HEADER_BYTES, UDP_BYTES, MOST_LABEL = 53, 12, 8, 63
# an IPv4 or IPv6 header with options, and a DNS question of the longest name
LOOKED_AT_BYTES = 512
IPV4_BYTES, IPV6_BYTES = 20, 40


def flow_of(packet: bytes, kind: int) -> tuple[int, str, str, int, int, int] | None:
    """Protocol, source, destination, ports (0 = none) and length of an IP packet; None of anything else."""
    if kind == IPV4 and len(packet) >= IPV4_BYTES:
        start, protocol = (packet[0] & 15) * 4, packet[9]
        length = struct.unpack_from("!H", packet, 2)[0]
        ends = [socket.inet_ntop(socket.AF_INET, packet[at : at + 4]) for at in (12, 16)]
    elif kind == IPV6 and len(packet) >= IPV6_BYTES:
        start, protocol = IPV6_BYTES, packet[6]
        length = IPV6_BYTES + int(struct.unpack_from("!H", packet, 4)[0])
        ends = [socket.inet_ntop(socket.AF_INET6, packet[at : at + 16]) for at in (8, 24)]
    else:
        return None
    ports = (0, 0)
    if protocol in (TCP, UDP) and len(packet) >= start + 4:
        ports = struct.unpack_from("!HH", packet, start)
    return protocol, ends[0], ends[1], ports[0], ports[1], length


def asked_name(packet: bytes, kind: int) -> str:
    """The name that a DNS question over UDP asks for, which is the first of its packet; "" of anything else."""
    start = (packet[0] & 15) * 4 if kind == IPV4 else IPV6_BYTES
    at = start + UDP_BYTES + DNS_HEADER_BYTES
    # its third byte begins with 1 in an answer
    if len(packet) <= at or packet[at - DNS_HEADER_BYTES + 2] & 128:
        return ""
    labels = []
    while len(packet) > at and 0 < packet[at] <= MOST_LABEL:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("ascii", "replace"))
        at += 1 + packet[at]
    return ".".join(labels).lower()


class Flows:
    """What was counted; `unlisted` are packets of flows beyond those that are kept, and names beyond them."""

    def __init__(self) -> None:
        self.counts: dict[tuple[object, ...], list[int]] = {}
        self.names: set[str] = set()
        self.other = self.unlisted = self.dropped = 0

    def take(self, name: str, heard: socket.socket) -> None:
        """Count what is there."""
        while True:
            try:
                packet, address = heard.recvfrom(LOOKED_AT_BYTES)
            except BlockingIOError:
                return
            found = flow_of(packet, address[1])
            if found is None:
                self.other += 1
                continue
            if found[0] == UDP and found[4] == DNS:
                self.asked(asked_name(packet, address[1]))
            key = (name, *found[:5])
            if key not in self.counts and len(self.counts) >= MOST_FLOWS:
                self.unlisted += 1
                continue
            count = self.counts.setdefault(key, [0, 0])
            count[0] += 1
            count[1] += found[5]

    def asked(self, name: str) -> None:
        """Keep a name that was asked for."""
        if name and len(self.names) < MOST_NAMES:
            self.names.add(name)
        elif name and name not in self.names:
            self.unlisted += 1

    def told(self) -> dict[str, object]:
        """As JSON takes it."""
        flows = [[*key, *count] for key, count in self.counts.items()]
        numbers = {"other": self.other, "unlisted": self.unlisted, "dropped": self.dropped}
        return {"flows": flows, "names": sorted(self.names), **numbers}


def listen(limit_s: float, interfaces: list[str]) -> dict[str, object]:
    """Count until TERM or the limit."""
    found, taps = Flows(), {name: tap(name, socket.SOCK_DGRAM) for name in interfaces}
    deadline = time.monotonic() + limit_s
    try:
        say(READY)
        while (left := deadline - time.monotonic()) > 0:
            select.select(list(taps.values()), [], [], left)
            for name, heard in taps.items():
                found.take(name, heard)
    except EndedError:
        pass
    for name, heard in taps.items():
        found.take(name, heard)
        found.dropped += dropped(heard)
    return found.told()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    try:
        said = json.dumps(listen(float(sys.argv[1]), sys.argv[2:]))
    except OSError as error:
        # whoever waits for a word gets one: the channel stays open though this program has ended
        said = f"{FAILED}{error}"
    say(said)
