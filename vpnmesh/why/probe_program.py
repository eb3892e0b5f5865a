"""Sends and answers probes between nodes for some seconds; sent to nodes as text (`python3 -I -`), of Python alone.

Every node that takes part runs it at the same time: it answers UDP probes with the address and port that it saw (as
STUN does), sends probes to all others, watches its interface for those that come by any port, and prints one line of
JSON. It changes nothing, and ends by itself: once all have told each other that they are done, or when its time is up.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import struct
import sys
import time
import zlib
from typing import Any, Dict, Tuple

EVERY_S = 0.2
MORE_S = 0.4
ASK, ANSWER, KNOCK, DONE, BURST, BACK = b"vmw?", b"vmw!", b"vmw=", b"vmw.", b"vmw+", b"vmw-"
IP_UDP_BYTES = 28
# <linux/in.h>: Python does not name them
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, IP_RECVERR = 10, 3, 11
ETHERNET_BYTES, IPV4, UDP = 14, 0x0800, 17
SOFTWARE, FINGERPRINT, FINGERPRINT_BYTES, STUN_MAGIC = 0x8022, 0x8028, 8, 0x5354554E
STUN_COOKIE, XOR_MAPPED_ADDRESS, ADDRESS_BYTES = 0x2112A442, 0x0020, 8
TICKS = 1e9
Clocks = Dict[str, Dict[str, Tuple[int, int]]]
"""What each thread ran and waited, by process."""


class Probes:
    """All sockets, and what they have seen so far."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.name = asked["name"].encode()
        self.begun = time.monotonic()
        self.seen: dict[str, Any] = {
            "mapped": {},
            "heard": {},
            "arrived": {},
            "sizes": {},
            "overlay_sizes": [],
        }
        self.seen |= {"tcp": {}, "stun": {}, "told": False, "burst": None, "cpu": {}}
        self.done: set[str] = set()
        self.knocked: set[str] = set()
        self.tap = self.tapped(asked["interface"])
        self.answering = self.udp(asked["port"])
        self.asking = self.udp(0)
        self.sizing = self.udp(0)
        self.sizing.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        self.sizing.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        self.burst = Burst(self) if asked.get("burst") else None
        self.first_burst: Clocks | None = None
        self.burst_began = self.look_again = 0.0

    @staticmethod
    def udp(port: int) -> socket.socket:
        """A socket at that port, or at any for 0."""
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("", port))
        one.setblocking(False)
        return one

    @staticmethod
    def tapped(interface: str) -> socket.socket | None:
        """A socket that gets every frame of the interface; None where it is not there."""
        with contextlib.suppress(OSError):
            one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(IPV4))
            one.bind((interface, 0))
            one.setblocking(False)
            return one
        return None

    def run(self) -> dict[str, Any]:
        """Probe until all are done, or until the time is up."""
        tcp = {where: started(where) for where in self.asked["tcp"]}
        stun = {where: self.udp(0) for where in self.asked["stun"]}
        due, ready_at = 0.0, 0.0
        while (now := time.monotonic()) < self.begun + self.asked["seconds"]:
            if now >= due:
                due = now + EVERY_S
                self.send(stun)
            self.take(stun, tcp)
            if self.burst:
                self.burst.go_on(now)
            if not self.finished(tcp):
                ready_at = 0.0
                continue
            ready_at = ready_at or now
            if set(self.asked["targets"]) <= self.done and now > ready_at + MORE_S:
                break
        for where, one in tcp.items():
            self.seen["tcp"].setdefault(where, "silent")
            one.close()
        if self.burst:
            self.burst.close()
        self.seen["seconds"] = time.monotonic() - self.begun
        self.seen["sizes"] = {name: sorted(sizes) for name, sizes in self.seen["sizes"].items()}
        return self.seen

    def finished(self, tcp: dict[str, socket.socket]) -> bool:
        """Whether every question of this node is answered."""
        asked = self.asked
        sized = all(set(asked["sizes"]) <= set(self.seen["sizes"].get(name, ())) for name in asked["sized"])
        overlay = set(asked["overlay_sizes"]) <= set(self.seen["overlay_sizes"])
        reached = set(asked["targets"]) <= set(self.seen["mapped"])
        counted = self.burst is None or self.burst.over
        return (
            reached
            and set(asked["data"]) <= self.knocked
            and sized
            and overlay
            and counted
            and set(tcp) <= set(self.seen["tcp"])
            and set(asked["stun"]) <= set(self.seen["stun"])
        )

    def send(self, stun: dict[str, socket.socket]) -> None:
        """One probe of everything that has no answer yet."""
        asked, over = self.asked, self.over()
        for name, address in asked["targets"].items():
            where = (address, asked["port"])
            push(self.asking, (DONE if over else ASK) + self.name, where)
            if name in asked["data"] and not over:
                push(self.asking, KNOCK + self.name, (address, asked["data"][name]))
        for name in asked["sized"]:
            for size in set(asked["sizes"]) - set(self.seen["sizes"].get(name, ())):
                self.sized(name, (asked["targets"][name], asked["port"]), size)
        for size in set(asked["overlay_sizes"]) - set(self.seen["overlay_sizes"]):
            self.sized("*", (asked["overlay"], asked["port"]), size)
        for server, one in stun.items():
            if server not in self.seen["stun"]:
                push(one, binding_request(self.asked["stun"][server].encode()), split(server))

    def over(self) -> bool:
        """Whether all was answered once."""
        return bool(self.seen.get("over"))

    def sized(self, name: str, where: tuple[str, int], size: int) -> None:
        """A packet of that many bytes, whole; `name` is whom it goes to, `*` through the tunnel."""
        head = ASK + self.name + b"|" + name.encode() + b"|" + str(size).encode() + b"|"
        try:
            self.sizing.sendto(head.ljust(size - IP_UDP_BYTES, b"."), where)
        except OSError as error:
            # of the interface itself, or of a router that said so
            self.seen["told"] = self.seen["told"] or error.errno == errno.EMSGSIZE

    def take(self, stun: dict[str, socket.socket], tcp: dict[str, socket.socket]) -> None:
        """Whatever has come within a moment."""
        readers = [self.answering, self.asking, self.sizing, *stun.values()]
        readers += [self.tap] if self.tap else []
        readers += [self.burst.socket] if self.burst else []
        waiting = [one for where, one in tcp.items() if where not in self.seen["tcp"]]
        found, connected, _ = select.select(readers, waiting, [], 0.02)
        for where, one in tcp.items():
            if one in connected:
                code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                self.seen["tcp"][where] = "open" if code == 0 else os.strerror(code)
        for where, one in stun.items():
            if one in found:
                self.seen["stun"].update((where, mapped(data)) for data, _ in pulled(one))
        self.read(found)
        if not self.over() and self.finished(tcp):
            self.seen["over"] = True

    def read(self, found: list[socket.socket]) -> None:
        """What has come at the sockets that every node has."""
        if self.answering in found:
            self.answer()
        if self.tap in found:
            self.watch()
        if self.burst and self.burst.socket in found:
            self.burst.take()
        for one in (self.asking, self.sizing):
            if one in found:
                self.answered(one)

    def answer(self) -> None:
        """Tell others as what they are seen, and give their bursts back."""
        for data, (address, port) in pulled(self.answering):
            if data.startswith(ASK):
                name, *more = data[4:].split(b"|")
                self.seen["heard"].setdefault(name.decode(errors="replace"), f"{address}:{port}")
                knocked = name.decode(errors="replace") in self.seen["arrived"]
                head = b"%s%s|%s|%d|%d|" % (ANSWER, self.name, address.encode(), port, knocked)
                push(self.answering, head + b"|".join(more[:2]), (address, port))
            elif data.startswith(DONE):
                self.done.add(data[4:].decode(errors="replace"))
                push(self.answering, DONE + self.name, (address, port))
            elif data.startswith(BURST):
                if data != BURST + b"up":
                    self.note_burst()
                push(self.answering, BACK + data[4:], (address, port))

    def note_burst(self) -> None:
        """The other end's bursts: from the first to the last, its daemons are watched here too."""
        now = time.monotonic()
        if now < self.look_again:
            return
        self.look_again = now + EVERY_S
        held = clocks(self.asked["processes"])
        if self.first_burst is None:
            self.first_burst, self.burst_began = held, now
        self.seen["cpu"] = used(self.first_burst, held, now - self.burst_began)

    def answered(self, one: socket.socket) -> None:
        """As what others see this node, and which of its large packets got there."""
        for data, _ in pulled(one, self.refused if one is self.sizing else None):
            if data.startswith(DONE):
                self.done.add(data[4:].decode(errors="replace"))
            if not data.startswith(ANSWER):
                continue
            name, address, port, knocked, target, size = (data[4:].split(b"|") + [b""] * 6)[:6]
            if not size:
                if one is self.asking:
                    self.seen["mapped"][name.decode(errors="replace")] = [address.decode(), int(port)]
                    self.knocked |= {name.decode(errors="replace")} if knocked == b"1" else set()
            elif target == b"*":
                self.seen["overlay_sizes"] = sorted({*self.seen["overlay_sizes"], int(size)})
            else:
                sizes = self.seen["sizes"].setdefault(target.decode(), [])
                if int(size) not in sizes:
                    sizes.append(int(size))

    def refused(self, error: OSError) -> None:
        """A router said that a packet was too large."""
        self.seen["told"] = self.seen["told"] or error.errno == errno.EMSGSIZE

    def watch(self) -> None:
        """Which probes of others come by, and to which port, whether anything takes them or not."""
        for frame, about in pulled(self.tap):
            if about[2] == socket.PACKET_OUTGOING or len(frame) < ETHERNET_BYTES + 28:
                continue
            head = ETHERNET_BYTES + (frame[ETHERNET_BYTES] & 15) * 4
            data = frame[head + 8 :]
            if frame[ETHERNET_BYTES + 9] == UDP and data.startswith(KNOCK):
                port = struct.unpack("!H", frame[head + 2 : head + 4])[0]
                ports = self.seen["arrived"].setdefault(data[4:].decode(errors="replace"), [])
                if port not in ports:
                    ports.append(port)


class Burst:
    """Some packets at once to the other end of the overlay, again when they are back: never more on their way."""

    ROUNDS, PACKETS, BYTES, WAIT_S = 20, 32, 1000, 0.5

    def __init__(self, probes: Probes) -> None:
        self.where = (probes.asked["overlay"], probes.asked["port"])
        self.names = probes.asked["processes"]
        self.seen = probes.seen
        self.socket = probes.udp(0)
        self.round = self.back = self.came = 0
        self.until = self.pause = 0.0
        self.over = self.up = False
        self.began, self.before = 0.0, clocks(self.names)

    def go_on(self, now: float) -> None:
        """Begin the next round once all of the last one is back, or late."""
        if self.over or now < self.pause:
            return
        if not self.up:
            self.pause = now + EVERY_S
            push(self.socket, BURST + b"up", self.where)
        elif self.round == 0 or self.came >= self.PACKETS or now > self.until:
            self.next(now)

    def next(self, now: float) -> None:
        """One round, or the end."""
        if self.round == 0:
            self.began, self.before = now, clocks(self.names)
        if self.round == self.ROUNDS:
            self.over = True
            return
        self.round += 1
        self.came, self.until = 0, now + self.WAIT_S
        for _ in range(self.PACKETS):
            push(self.socket, (BURST + b"%d|" % self.round).ljust(self.BYTES, b"."), self.where)

    def take(self) -> None:
        """Count what is back."""
        for data, _ in pulled(self.socket):
            if data.startswith(BACK + b"up"):
                self.up = True
            elif data.startswith(BACK):
                self.back += 1
                self.came += data[4:].split(b"|")[0] == b"%d" % self.round

    def close(self) -> None:
        """Say what came of it."""
        spent = time.monotonic() - self.began
        self.seen["burst"] = [self.round * self.PACKETS, self.back]
        if self.up:
            self.seen["cpu"] = used(self.before, clocks(self.names), spent)


def push(one: socket.socket, data: bytes, where: tuple[str, int]) -> None:
    """Send it where that can be done."""
    with contextlib.suppress(OSError):
        one.sendto(data, where)


def pulled(one: Any, failed: Any = None) -> Any:
    """What has come, with where from; an error that a router or a host told is handed to `failed`."""
    for _ in range(256):
        try:
            yield one.recvfrom(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            if failed:
                failed(error)


def split(where: str) -> tuple[str, int]:
    """Address and port."""
    address, _, port = where.rpartition(":")
    return address, int(port)


def started(where: str) -> socket.socket:
    """A TCP connection that is being opened."""
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setblocking(False)
    one.connect_ex(split(where))
    return one


def binding_request(software: bytes) -> bytes:
    """A STUN request with that SOFTWARE and a FINGERPRINT, which some servers want (RFC 8489, sections 14.7, 14.14)."""
    named = struct.pack("!HH", SOFTWARE, len(software)) + software.ljust((len(software) + 3) // 4 * 4, b"\0")
    body = named if software else b""
    request = struct.pack("!HHI12s", 1, len(body) + FINGERPRINT_BYTES, STUN_COOKIE, b"vpnmesh-why!") + body
    return request + struct.pack("!HHI", FINGERPRINT, 4, zlib.crc32(request) ^ STUN_MAGIC)


def mapped(data: bytes) -> str:
    """The address in a STUN answer (RFC 8489, section 14.2), "" where it has none."""
    place = 20
    while place + 4 <= len(data):
        kind, length = struct.unpack("!HH", data[place : place + 4])
        if kind == XOR_MAPPED_ADDRESS and length >= ADDRESS_BYTES:
            port, address = struct.unpack("!xxHI", data[place + 4 : place + 12])
            return (
                f"{socket.inet_ntoa(struct.pack('!I', address ^ STUN_COOKIE))}:{port ^ (STUN_COOKIE >> 16)}"
            )
        place += 4 + (length + 3) // 4 * 4
    return ""


def clocks(names: list[str]) -> Clocks:
    """Nanoseconds that threads of these processes ran, and waited for a processor (/proc/PID/task/*/schedstat)."""
    found: Clocks = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/comm") as file:
                comm = file.read().strip()
            for task in os.listdir(f"/proc/{pid}/task") if comm in names else ():
                with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                    run, wait, _ = map(int, file.read().split())
                found.setdefault(f"{comm} {pid}", {})[task] = (run, wait)
    return found


def used(before: Clocks, after: Clocks, seconds: float) -> dict[str, list[float]]:
    """Seconds that each process ran, that the thread which waited longest waited, and how long it was watched."""
    found = {}
    for name in set(before) & set(after):
        spent = [
            (run - before[name].get(task, (0, 0))[0], wait - before[name].get(task, (0, 0))[1])
            for task, (run, wait) in after[name].items()
        ]
        found[name] = [sum(run for run, _ in spent) / TICKS, max(wait for _, wait in spent) / TICKS, seconds]
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(Probes(json.loads(sys.argv[1])).run()) + "\n")
