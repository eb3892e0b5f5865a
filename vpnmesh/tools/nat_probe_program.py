"""Finds out what kind of NAT a node is behind; sent to nodes as text (`python3 -I -c`), of Python's own alone.

`answer` says to whoever asks from where it was asked, and answers from another port or through a helper at another
address (RFC 5780, section 4). `ask` asks two such nodes, and tries to reach another asking node by UDP, both sending
first. Each message bears a token, and what does not is ignored. `ask` prints one line of JSON; both end by themselves.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

from vpnmesh.tools.program_frame import FAILED, READY, EndedError, end, say

AGAIN_S, PUNCH_EVERY_S, MEET_S, LAST_S = 0.2, 0.05, 20.0, 0.4
IP_RECVTTL = 12
HOPS = {
    socket.AF_INET: (socket.IPPROTO_IP, IP_RECVTTL, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, socket.IPV6_HOPLIMIT),
}
Address = tuple[str, int]


def family_of(address: str) -> socket.AddressFamily:
    """IPv6 is what has colons."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def udp(port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A socket of one family that is told how many hops packets had left."""
    one = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    level, option, _ = HOPS[family]
    one.setsockopt(level, option, 1)
    one.bind(("", port))
    one.settimeout(0)
    return one


def address_of(words: object) -> Address:
    """An address as JSON has it."""
    return (str(words[0]), int(words[1])) if isinstance(words, list) else ("", 0)


def send(one: socket.socket, token: str, to: Address, **words: object) -> None:
    """Send a message; a network that refuses it is as one that loses it."""
    with contextlib.suppress(OSError):
        one.sendto(json.dumps({"token": token, **words}).encode(), to)


def take(one: socket.socket, token: str) -> tuple[dict[str, object], Address, int] | None:
    """A message with the token, its sender, and the hops that it had left."""
    try:
        content, notes, _, sender = one.recvmsg(2048, 64)
        message = json.loads(content)
        if message["token"] != token:
            return None
    except (OSError, ValueError, LookupError, TypeError):
        return None
    level, _, note = HOPS[one.family]
    hops = [struct.unpack("i", data[:4])[0] for *kind, data in notes if kind == [level, note]]
    return message, (sender[0], sender[1]), hops[0] if hops else 0


def messages(
    one: socket.socket, token: str, seconds: float
) -> Iterator[tuple[dict[str, object], Address, int]]:
    """What comes within so many seconds."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([one], [], [], left)[0] and (found := take(one, token)):
            yield found


def answer(token: str, limit_s: float, first: str, second: str) -> None:
    """Answer until TERM or the limit."""
    doors, asked = [], {}
    for family in families():
        ports = udp(int(first), family), udp(int(second), family)
        asked.update(dict.fromkeys(ports, ports))
        doors.append(socket.create_server(("", int(first)), family=family))
    known: dict[str, Address] = {}
    until = time.monotonic() + limit_s
    with contextlib.suppress(EndedError):
        say(READY)
        while (left := until - time.monotonic()) > 0:
            for one in select.select([*asked, *doors], [], [], left)[0]:
                if one in doors:
                    one.accept()[0].close()
                elif found := take(one, token):
                    reply(one, asked[one], token, known, *found)


def families() -> list[socket.AddressFamily]:
    """IPv4, and IPv6 where the kernel has it."""
    with contextlib.suppress(OSError):
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
        return [socket.AF_INET, socket.AF_INET6]
    return [socket.AF_INET]


def reply(
    one: socket.socket,
    ports: tuple[socket.socket, socket.socket],
    token: str,
    known: dict[str, Address],
    message: dict[str, object],
    sender: Address,
    hops: int,
) -> None:
    """Do what one message asks for."""
    wish = message.get("wish")
    if wish == "where":
        send(one, token, sender, number=message["number"], seen=sender, hops=hops)
    elif wish == "others":
        send(ports[0], token, sender, by="same")
        send(ports[1], token, sender, by="port")
        send(ports[0], token, (str(message["helper"]), ports[0].getsockname()[1]), wish="help", target=sender)
    elif wish == "help":
        send(ports[0], token, address_of(message["target"]), by="address")
    elif wish == "meet":
        known[str(message["me"])] = sender
        send(one, token, sender, peer=known.get(str(message["other"])))


def where(token: str, targets: list[Address], wait_s: float) -> dict[str, object]:
    """From where one socket is seen by each target, None where no answer comes; and the hops that were left."""
    seen: list[object] = [None] * len(targets)
    hops = 0
    until = time.monotonic() + wait_s
    with udp(0, family_of(targets[0][0])) as one:
        while None in seen and time.monotonic() < until:
            for number, target in enumerate(targets):
                if seen[number] is None:
                    send(one, token, target, wish="where", number=number)
            for message, _, _ in messages(one, token, AGAIN_S):
                seen[int(str(message["number"]))] = message["seen"]
                hops = int(str(message["hops"]))
                if None not in seen:
                    break
    return {"seen": seen, "hops": hops}


def others(token: str, target: Address, helper: str, wait_s: float) -> list[str]:
    """Who gets through to a socket that wrote to one port of one address alone."""
    came: set[str] = set()
    until = time.monotonic() + wait_s
    with udp(0, family_of(target[0])) as one:
        while len(came) < 3 and time.monotonic() < until:  # noqa: PLR2004 - same, port, address
            send(one, token, target, wish="others", helper=helper)
            came |= {str(message["by"]) for message, _, _ in messages(one, token, AGAIN_S)}
    return sorted(came)


def reached(target: Address, wait_s: float) -> bool:
    """Whether TCP gets there; a port that refuses was reached."""
    try:
        socket.create_connection(target, wait_s).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def punched(token: str, meeting: Address, me: str, other: str, wait_s: float) -> bool | None:
    """Whether packets went both ways between the two ends, both sending first; None where the other never came."""
    with udp(0, family_of(meeting[0])) as one:
        peer = met(one, token, meeting, me, other)
        return None if peer is None else crossed(one, token, peer, wait_s)


def met(one: socket.socket, token: str, meeting: Address, me: str, other: str) -> Address | None:
    """Where the meeting place sees the other end."""
    until = time.monotonic() + MEET_S
    while time.monotonic() < until:
        send(one, token, meeting, wish="meet", me=me, other=other)
        for message, _, _ in messages(one, token, AGAIN_S):
            if peer := message.get("peer"):
                return address_of(peer)
    return None


def crossed(one: socket.socket, token: str, peer: Address, wait_s: float) -> bool:
    """Send until the peer says that it heard; then go on a little, so that it hears the same."""
    until, both = time.monotonic() + wait_s, False
    targets = {peer}
    while time.monotonic() < until:
        for target in targets:
            send(one, token, target, wish="hello")
        for message, sender, _ in messages(one, token, PUNCH_EVERY_S):
            if message.get("wish") not in ("hello", "heard"):
                continue
            targets = {peer, sender}
            send(one, token, sender, wish="heard")
            if message["wish"] == "heard" and not both:
                both, until = True, time.monotonic() + LAST_S
    return both


def ask(token: str, limit_s: float, *words: str) -> None:
    """Ask both nodes, and print what is known then; an empty name of the other end leaves reaching it out.

    An address `beside` is the first node's of the other family: whether anything gets there is told, too.
    """
    first, second, port, other_port, me, other, wait, beside = words
    targets = [(first, int(port)), (first, int(other_port)), (second, int(port))]
    wait_s = float(wait)
    signal.alarm(int(limit_s) + 1)
    told = where(token, targets, wait_s)
    answered = any(told["seen"])  # type: ignore[arg-type]
    told["others"] = others(token, targets[0], second, wait_s) if answered else []
    told["tcp"] = reached(targets[0], wait_s)
    told["tcp_443"] = reached((first, 443), wait_s)
    if beside:
        told["beside"] = any(where(token, [(beside, int(port))], wait_s)["seen"]) or reached(  # type: ignore[arg-type]
            (beside, int(port)), wait_s
        )
    told["punched"] = punched(token, targets[0], me, other, wait_s) if other else None
    say(json.dumps(told))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    role, word, limit, *rest = sys.argv[1:]
    roles: dict[str, Callable[..., None]] = {"answer": answer, "ask": ask}
    try:
        roles[role](word, float(limit), *rest)
    except OSError as error:
        say(f"{FAILED}{error}")
