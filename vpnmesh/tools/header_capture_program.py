"""Prints a line per packet of some interfaces; sent to nodes as text (`python3 -I -c`), of Python's own alone.

Headers only, never what packets carry: seconds, interface, direction, protocol, addresses and ports, bytes. Of each
flow in each direction only the first ones are printed, so that a busy one hides no other. It ends after so many lines,
at TERM, or after its time.
"""

from __future__ import annotations

import select
import signal
import socket
import struct
import sys
import time
from collections import Counter

from vpnmesh.tools.program_frame import FAILED, IPV4, IPV6, READY, EndedError, end, say, tap

OUTGOING = 4
NAMES = {1: "icmp", 6: "tcp", 17: "udp"}
FLAGS = ((0x02, "S"), (0x10, "."), (0x01, "F"), (0x04, "R"), (0x08, "P"))


def header(kind: int, packet: bytes) -> tuple[str, str]:
    """The flow of a packet, and the packet in words; both empty for what is no IP."""
    if kind == IPV4 and len(packet) >= 20:  # noqa: PLR2004 - the shortest header
        start, protocol, size = 4 * (packet[0] & 0x0F), packet[9], struct.unpack("!H", packet[2:4])[0]
        source, target = (socket.inet_ntoa(packet[at : at + 4]) for at in (12, 16))
    elif kind == IPV6 and len(packet) >= 40:  # noqa: PLR2004 - the header
        start, protocol, size = 40, packet[6], 40 + struct.unpack("!H", packet[4:6])[0]
        source, target = (socket.inet_ntop(socket.AF_INET6, packet[at : at + 16]) for at in (8, 24))
    else:
        return "", ""
    name, rest = NAMES.get(protocol, str(protocol)), packet[start:]
    plain = name
    if name in ("tcp", "udp") and len(rest) >= 4:  # noqa: PLR2004 - two ports
        ports = struct.unpack("!HH", rest[:4])
        source, target = f"{source}:{ports[0]}", f"{target}:{ports[1]}"
    elif name == "icmp" and len(rest) >= 2:  # noqa: PLR2004 - type and code
        name = f"icmp type {rest[0]} code {rest[1]}"
    if name == "tcp" and len(rest) > 13:  # noqa: PLR2004 - up to the flags
        name = f"tcp [{''.join(sign for bit, sign in FLAGS if rest[13] & bit)}]"
    return f"{plain} {source} > {target}", f"{name} {source} > {target} length {size}"


def capture(limit_s: float, most: int, most_of_flow: int, *interfaces: str) -> None:
    """Print headers until there are enough, TERM comes, or the time is over."""
    taps = [tap(interface, socket.SOCK_DGRAM) for interface in interfaces]
    say(READY)
    began, seen = time.monotonic(), Counter[str]()
    while most > 0 and (left := began + limit_s - time.monotonic()) > 0:
        for one in select.select(taps, [], [], left)[0]:
            content, (interface, kind, direction, *_) = one.recvfrom(96)
            flow, words = header(kind, content)
            seen[f"{interface} {flow}"] += 1
            if words and most > 0 and seen[f"{interface} {flow}"] <= most_of_flow:
                way = "out" if direction == OUTGOING else "in"
                say(f"{time.monotonic() - began:8.3f} {interface} {way:3} {words}")
                most -= 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    limit, lines, of_flow, *names = sys.argv[1:]
    try:
        capture(float(limit), int(lines), int(of_flow), *names)
    except EndedError:
        pass
    except OSError as error:
        say(f"{FAILED}{error}")
