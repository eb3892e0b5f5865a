"""Asks an HTTPS server by the clock; sent to a node as text (`python3 -I -c`), so it imports nothing but Python's own.

Every request has its intended time, whatever became of those before it, and its response time counts from then: a
server or a path that stalls delays nobody's start, and no delay is hidden ("coordinated omission"). Connections are
kept and used again, as a Kubernetes client does; a new one is opened where none is idle.

What to do comes as JSON on stdin, secrets among it: `url`, `token`, `ca` (the only certificate that is trusted),
`requests`, `per_s`, `timeout_s`. Out come rows of CSV: hey's columns, then three more.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HEADER = (
    "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset,"
    "intended-offset,bytes,error"
)
STALE = (ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError)
"""What a kept connection ends with that the server had closed while it was idle."""


@dataclass
class Connection:
    """A connection that is open."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: bool = False


@dataclass
class Row:
    """One request: seconds since the first one's intended time, and how long each part of it took."""

    intended: float
    began: float = 0.0
    dialed: float = 0.0
    wrote: float = 0.0
    waited: float = 0.0
    read: float = 0.0
    ended: float = 0.0
    status: int | None = None
    size: int = 0
    error: str = ""

    def text(self) -> str:
        """As a row of CSV."""
        seconds = (self.ended - self.intended, self.dialed, 0.0, self.wrote, self.waited, self.read)
        status = "" if self.status is None else self.status
        return (
            ",".join(f"{one:.6f}" for one in seconds)
            + f",{status},{self.began:.6f},{self.intended:.6f},{self.size},{self.error}"
        )


@dataclass
class Sender:
    """Asks one address; `clock` is seconds since the first intended time."""

    url: str
    token: str
    tls: ssl.SSLContext
    timeout_s: float
    clock: Callable[[], float]
    idle: list[Connection] = field(default_factory=list)

    async def ask(self, intended: float) -> Row:
        """One request, whatever becomes of it; it has `timeout_s` from its intended time."""
        row = Row(intended, began=self.clock())
        left = self.timeout_s - (row.began - intended)
        try:
            await asyncio.wait_for(self._asked(row), max(left, 0.001))
        except (asyncio.TimeoutError, TimeoutError):
            row.error = "timeout"
        except (OSError, EOFError, ValueError) as error:
            row.error = kind(error)
        row.ended = self.clock()
        if row.error:
            row.status = None
        return row

    async def _asked(self, row: Row) -> None:
        held = self.idle.pop() if self.idle else None
        if held is not None:
            try:
                await self._exchange(held, row)
            except STALE:
                # as Go's client does: what came before any answer is asked again over a new connection
                if row.status is not None:
                    raise
            else:
                return
        await self._exchange(await self._open(row), row)

    async def _open(self, row: Row) -> Connection:
        place, before = urlsplit(self.url), self.clock()
        opened = Connection(*await asyncio.open_connection(place.hostname, place.port, ssl=self.tls))
        row.dialed = self.clock() - before
        return opened

    async def _exchange(self, held: Connection, row: Row) -> None:
        """Send, read the whole answer, and keep the connection; it is closed where anything goes wrong."""
        whole = False
        try:
            keep = await self._sent_and_read(held, row)
            whole = keep
        finally:
            if whole:
                self.idle.append(held)
            else:
                held.writer.transport.abort()

    async def _sent_and_read(self, held: Connection, row: Row) -> bool:
        place, started = urlsplit(self.url), self.clock()
        lines = (
            f"GET {place.path or '/'}{'?' + place.query if place.query else ''} HTTP/1.1",
            f"Host: {place.netloc}",
            "User-Agent: vpnmesh",
            "Accept: application/json",
            f"Authorization: Bearer {self.token}",
        )
        held.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await held.writer.drain()
        row.wrote = self.clock() - started
        status_line = await held.reader.readuntil(b"\r\n")
        row.waited = self.clock() - started - row.wrote
        row.status = int(status_line.split()[1])
        fields = await headers(held.reader)
        row.size = await body(held.reader, fields)
        row.read = self.clock() - started - row.wrote - row.waited
        return fields.get("connection", "").lower() != "close"


async def headers(reader: asyncio.StreamReader) -> dict[str, str]:
    """The header fields of an answer, their names in small letters."""
    found: dict[str, str] = {}
    while (line := (await reader.readuntil(b"\r\n")).decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        found[name.strip().lower()] = value.strip()
    return found


async def body(reader: asyncio.StreamReader, fields: dict[str, str]) -> int:
    """Read the body of an answer; its bytes."""
    if fields.get("transfer-encoding", "").lower() == "chunked":
        size = 0
        while length := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            size += len(await reader.readexactly(length))
            await reader.readexactly(2)
        await headers(reader)
        return size
    return len(await reader.readexactly(int(fields["content-length"]))) if "content-length" in fields else 0


def kind(error: Exception) -> str:
    """What went wrong, in one word; a comma would end the column."""
    for what, word in (
        (ssl.SSLError, "tls"),
        (ConnectionRefusedError, "refused"),
        ((ConnectionError, EOFError), "reset"),
        (OSError, "unreachable"),
    ):
        if isinstance(error, what):
            reason = getattr(error, "verify_message", "") if word == "tls" else ""
            return f"{word}: {reason}".replace(",", " ") if reason else word
    return "unreadable"


async def send(wanted: dict[str, object], say: Callable[[str], object]) -> None:
    """Ask all, each at its time, and say a row for every one as it ends."""
    tls = ssl.create_default_context(cadata=str(wanted["ca"]))
    started = time.monotonic()
    sender = Sender(
        str(wanted["url"]),
        str(wanted["token"]),
        tls,
        float(str(wanted["timeout_s"])),
        lambda: time.monotonic() - started,
    )
    running = set()
    for number in range(int(str(wanted["requests"]))):
        intended = number / float(str(wanted["per_s"]))
        await asyncio.sleep(max(0.0, intended - sender.clock()))
        task = asyncio.ensure_future(sender.ask(intended))
        running.add(task)
        task.add_done_callback(lambda done: say(done.result().text()))
        task.add_done_callback(running.discard)
    while running:
        await asyncio.wait(running)
    for held in sender.idle:
        held.writer.transport.abort()


def main() -> None:
    """Read what to do, do it, and write what came of it."""
    wanted = json.load(sys.stdin)
    print(HEADER)
    asyncio.run(send(wanted, print))


if __name__ == "__main__":
    main()
