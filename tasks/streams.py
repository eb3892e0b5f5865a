"""Two streams of records from one node's pod to another's, watched while something happens to the network."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from nornir.core.inventory import Host
from nornir.core.task import Result, Task

from inventory.repeating import on_controller
from tasks.connection import Attached, shell_of
from vpnmesh.errors import CheckError, VpnmeshError
from vpnmesh.host.pods import in_pod, pod_address
from vpnmesh.model import Pair, Testbed
from vpnmesh.study.fallback import FLOWS_S, flows
from vpnmesh.tools import programs, streams
from vpnmesh.tools.streams import Arrival, Kind

LOOK_EVERY_S = 0.1
DRAIN_S = 0.5
"""How long what is under way may take to come once nothing is sent any more."""
_CHUNK = 65_536

RECEIVED, SENT = "received.txt", "sent.json"
"""The files that hold what the receiver and the sender said."""


@dataclass(slots=True)
class Streams:
    """Both streams as the receiver tells of them, read all the time by a thread of its own.

    `now_s` is the receiver's clock: the line that came fastest says how far it is from ours.
    """

    receiver: Attached
    text: str = ""
    came: dict[Kind, list[Arrival]] = field(default_factory=lambda: {"u": [], "t": [], "c": []})
    ahead_s: float | None = None
    _reader: threading.Thread | None = None

    def begin(self) -> None:
        """Read from now on."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def now_s(self) -> float:
        """The receiver's time; CheckError before anything came."""
        if self.ahead_s is None:
            raise CheckError("streams", "nothing came from the client's pod to the server's")
        return time.monotonic() - self.ahead_s

    def wait(self, seconds: float) -> None:
        """Let time pass while they flow; CheckError as soon as the receiver is gone."""
        self.until(lambda: False, seconds)

    def flowing(self) -> bool:
        """Whether both have flowed without a break for some time."""
        if self.ahead_s is None:
            return False
        now_s = self.now_s()
        return all(flows(self._recent(kind, now_s), now_s) for kind in ("u", "t"))

    def until(self, enough: Callable[[], bool], seconds: float) -> bool:
        """Wait for that; whether it came about in so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if enough():
                return True
            if self._reader is not None and not self._reader.is_alive():
                raise CheckError("streams", "the receiver ended")
            time.sleep(LOOK_EVERY_S)
        return enough()

    def end(self) -> str:
        """End the receiver; all that it said."""
        self.receiver.end()
        if self._reader is not None:
            self._reader.join(streams.START_S)
        return self.text

    def _recent(self, kind: Kind, now_s: float) -> list[Arrival]:
        """What came lately, with room for the time that a line takes to get here."""
        most = int(2 * (FLOWS_S + 1) * streams.UDP_PER_S)
        return [one for one in self.came[kind][-most:] if one.at_s >= now_s - FLOWS_S - 1]

    def _read(self) -> None:
        half = ""
        with suppress(OSError, EOFError):
            while chunk := self.receiver.channel.recv(_CHUNK):
                read_s, text = time.monotonic(), chunk.decode(errors="replace")
                self.text += text
                *lines, half = (half + text).split("\n")
                for line in lines:
                    self._take(line, read_s)

    def _take(self, line: str, read_s: float) -> None:
        if (found := streams.arrival(line)) is not None:
            kind, one = found
            self.came[kind].append(one)
            apart_s = read_s - one.at_s
            self.ahead_s = apart_s if self.ahead_s is None else min(self.ahead_s, apart_s)


During = Callable[[Streams], None]
"""What is done while the streams flow."""


@on_controller("it holds connections to several nodes at once")
def carry_streams(
    task: Task, testbed: Testbed, pair: Pair, others: Mapping[str, Host], during: During, limit_s: float
) -> Result:
    """Send UDP and TCP from this host's pod, the pair's client's, to the server's, while `during` happens.

    `result` is what receiver and sender said, by file name. `others` are all hosts of the inventory. Both programs end
    with this task, and after `limit_s` at the latest.
    """
    client, server = (shell_of(task, others[name]) for name in (pair.client, pair.server))
    address = str(pod_address(testbed, testbed.node(pair.server)))
    with (
        _started(lambda: server.start(in_pod(*streams.receive(limit_s)), timeout_s=limit_s + 5)) as receiver,
    ):
        receiver.wait_for(f"{programs.READY}\n")
        watched = Streams(receiver)
        watched.begin()
        with _started(
            lambda: client.start(in_pod(*streams.send(address, limit_s)), timeout_s=limit_s + 5)
        ) as sender:
            during(watched)
            said = sender.stop()
        time.sleep(DRAIN_S)
        received = watched.end()
    return Result(host=task.host, result={RECEIVED: received, SENT: said.stdout or said.stderr})


@contextmanager
def _started(start: Callable[[], Attached]) -> Iterator[Attached]:
    """A program that ends with what is inside, whatever becomes of that."""
    process = start()
    try:
        yield process
    finally:
        with suppress(VpnmeshError):
            process.end()
        process.channel.close()
