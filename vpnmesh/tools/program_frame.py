"""What programs that are sent to nodes as text have in common; of Python's own alone.

Its text is put before theirs in place of their import of it (`vpnmesh.tools.programs`), since nodes have no vpnmesh.
"""

from __future__ import annotations

import signal
import socket
import struct
import sys

READY, FAILED = "ready", "failed: "
ANY = "any"
ALL_PROTOCOLS, IPV4, IPV6 = 3, 0x0800, 0x86DD
BUFFER_BYTES = 1 << 23
# <linux/socket.h>, <linux/if_packet.h>, <asm-generic/socket.h>: Python does not name them
SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE = 263, 6, 33


class EndedError(Exception):
    """TERM came."""


def end(*_: object) -> None:
    """Stop waiting, so that the last lines are printed; `timeout` may send TERM twice."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise EndedError


def say(line: str) -> None:
    """Print it at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def tap(interface: str, kind: int) -> socket.socket:
    """A socket that gets every frame of the interface, those that it sends too; `any` is every interface.

    `kind` is SOCK_RAW, or SOCK_DGRAM for what is in them without Ethernet's header.
    """
    heard = socket.socket(socket.AF_PACKET, kind, socket.htons(ALL_PROTOCOLS))
    heard.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    if interface != ANY:
        heard.bind((interface, 0))
    heard.settimeout(0)
    return heard


def dropped(heard: socket.socket) -> int:
    """How many frames came too fast to be looked at, since this was last asked."""
    return int(struct.unpack("II", heard.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1])
