"""What every node answered in one run, kept in a file, and nodes that answer out of it: no network, no lab.

A node's answers are in the order in which it gave them. What changes a node moves it on to the place of that change,
and it answers every question as it did there. So a run that makes a part of the recorded one hears the same answers.
"""

import bisect
import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from tasks import connection
from tasks.connection import Shell
from tasks.script import argv_of, rendered
from vpnmesh.errors import CommandError
from vpnmesh.plan import Completed, Step

ASKED, CHANGED, STARTED, READ, STOPPED, FED = "asked", "changed", "started", "read", "stopped", "fed"
Answer = list[tuple[int, str, str]]
"""Exit code, stdout and stderr of each step that was carried out."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of a node: to which question, by its digest, and whether that changed the node.

    `number` is its place among all answers of all nodes.
    """

    key: str
    changes: bool
    answer: Answer
    number: int = 0


def key_of(kind: str, *parts: str) -> str:
    """A question's digest: short, and nothing of it can be read out of the file."""
    return hashlib.blake2b("\0".join((kind, *parts)).encode(), digest_size=9).hexdigest()


def script_key(steps: Sequence[Step], *, stop: bool) -> str:
    """The digest of steps as a node gets them."""
    return key_of(CHANGED if stop else ASKED, *(rendered(step, "MARK", stop=stop) for step in steps))


@dataclass(slots=True)
class Recording:
    """All that was said, by node."""

    nodes: dict[str, list[Said]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, host: str, said: Said) -> None:
        """One answer more."""
        with self._lock:
            number = sum(map(len, self.nodes.values()))
            self.nodes.setdefault(host, []).append(replace(said, number=number))

    def save(self, path: Path) -> None:
        """Write it, each text once."""
        texts: dict[str, int] = {}
        nodes = {
            host: [
                [one.key, one.number, int(one.changes), *(self._packed(step, texts) for step in one.answer)]
                for one in said
            ]
            for host, said in sorted(self.nodes.items())
        }
        content = json.dumps({"texts": list(texts), "nodes": nodes}, separators=(",", ":")).encode()
        path.write_bytes(gzip.compress(content, mtime=0))

    @staticmethod
    def _packed(step: tuple[int, str, str], texts: dict[str, int]) -> list[int]:
        return [step[0], *(texts.setdefault(text, len(texts)) for text in step[1:])]

    @classmethod
    def load(cls, path: Path) -> "Recording":
        """Read what `save` wrote."""
        content = json.loads(gzip.decompress(path.read_bytes()))
        texts = content["texts"]
        return cls(
            {
                host: [
                    Said(
                        key,
                        bool(changes),
                        [(code, texts[out], texts[err]) for code, out, err in answer],
                        number,
                    )
                    for key, number, changes, *answer in said
                ]
                for host, said in content["nodes"].items()
            }
        )


@dataclass(slots=True)
class Clock:
    """Where in the recorded run the nodes are: the number of the answer that was given last, by whichever node."""

    now: int = 0


@dataclass(slots=True)
class RecordedNode:
    """A node that answers as it did; `place` is the last change that it was asked for, -1 before any.

    A question that was asked many times is answered as it was nearest to where all nodes are: of two that work
    together, one may be the first to hear of the next test.
    """

    host: str
    said: Sequence[Said]
    clock: Clock
    place: int = -1
    _given: int = -1
    _by_key: dict[str, list[int]] = field(default_factory=dict)
    _changes: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Find answers by question."""
        for number, one in enumerate(self.said):
            self._by_key.setdefault(one.key, []).append(number)
            if one.changes:
                self._changes.append(number)

    def answer(self, key: str, what: str) -> Answer:
        """What the node said to that; CommandError where it was never asked."""
        with self._lock:
            places = self._by_key.get(key)
            if places is None:
                raise CommandError(self.host, (what[:4000],), 99, "was not asked this when it was recorded")
            number = self._chosen(places)
            if self.said[number].changes:
                self.place = self._given = number
            elif self.place < number < self._until():
                self._given = max(self._given, number)
            self.clock.now = self.said[number].number
            return self.said[number].answer

    def _until(self) -> int:
        """Where the next change is."""
        next_one = bisect.bisect_right(self._changes, self.place)
        return self._changes[next_one] if next_one < len(self._changes) else len(self.said)

    def _chosen(self, places: Sequence[int]) -> int:
        """The next answer; of a question the last one since the latest change, where all were given."""
        after = bisect.bisect_right(places, self._given)
        to_come = places[after:]
        if not self.said[places[0]].changes:
            until = self._until()
            here = [one for one in places if self.place < one < until]
            if here:
                return next((one for one in here if one > self._given), here[-1])
        return min(to_come or places, key=lambda one: abs(self.said[one].number - self.clock.now))


def _answered(steps: Sequence[Step], answer: Answer) -> list[Completed]:
    return [
        Completed(argv_of(step), code, out, err)
        for step, (code, out, err) in zip(steps, answer, strict=False)
    ]


class RecordedProcess:
    """A process on a recorded node."""

    def __init__(self, node: RecordedNode, argv: tuple[str, ...]) -> None:
        self.host, self.argv = node.host, argv
        self._node = node
        self.channel = SimpleNamespace(close=lambda: None)
        self._ask(STARTED)

    def _ask(self, kind: str, *more: str) -> tuple[int, str, str]:
        key = key_of(kind, *self.argv, *more)
        return self._node.answer(key, f"{kind} {self.argv} {more}")[0]

    def wait_for(self, text: str) -> str:
        """What was read by then."""
        return self._ask(READ, text)[1]

    def read_until(self, enough: Callable[[str], bool], *, within_s: float) -> str:
        """What was read by then, however soon."""
        del enough, within_s
        return self._ask(READ)[1]

    def end(self) -> None:
        """Nothing to tell it."""

    def stop(self) -> Completed:
        """All that it printed."""
        return Completed(self.argv, *self._ask(STOPPED))


@contextmanager
def replayed(recording: Recording) -> Iterator[dict[str, RecordedNode]]:
    """Within, every shell is one of a recorded node."""
    clock = Clock()
    nodes = {host: RecordedNode(host, said, clock) for host, said in recording.nodes.items()}
    alive = SimpleNamespace(is_active=lambda: True)

    def round_trip(here: Shell, steps: Sequence[Step], *, stop: bool) -> list[Completed]:
        what = "\n".join(rendered(step, "MARK", stop=stop) for step in steps)
        return _answered(steps, nodes[here.host].answer(script_key(steps, stop=stop), what))

    def start(here: Shell, argv: Sequence[str], *, timeout_s: float) -> RecordedProcess:
        del timeout_s
        return RecordedProcess(nodes[here.host], tuple(argv))

    def feed(here: Shell, argv: Sequence[str], chunks: Iterable[bytes], *, stalled_s: float) -> Completed:
        del chunks, stalled_s
        answer = nodes[here.host].answer(key_of(FED, *argv), str(argv))[0]
        return Completed(tuple(argv), *answer)

    def client(*_: object) -> Any:
        return SimpleNamespace(get_transport=lambda: alive)

    with (
        patch.object(Shell, "_round_trip", round_trip),
        patch.object(Shell, "start", start),
        patch.object(Shell, "feed", feed),
        patch.object(connection, "_client", client),
    ):
        yield nodes


@contextmanager
def recorded(recording: Recording) -> Iterator[None]:
    """Within, every answer of every real shell goes into the recording too."""
    own_round_trip, own_start, own_feed = Shell._round_trip, Shell.start, Shell.feed

    def round_trip(here: Shell, steps: Sequence[Step], *, stop: bool) -> list[Completed]:
        completed = own_round_trip(here, steps, stop=stop)
        answer = [(one.exit_code, one.stdout, one.stderr) for one in completed]
        recording.add(here.host, Said(script_key(steps, stop=stop), stop, answer))
        return completed

    def start(here: Shell, argv: Sequence[str], *, timeout_s: float) -> Any:
        recording.add(here.host, Said(key_of(STARTED, *argv), changes=True, answer=[(0, "", "")]))
        return _RecordingProcess(own_start(here, argv, timeout_s=timeout_s), recording)

    def feed(here: Shell, argv: Sequence[str], chunks: Iterable[bytes], *, stalled_s: float) -> Completed:
        done = own_feed(here, argv, chunks, stalled_s=stalled_s)
        answer = [(done.exit_code, done.stdout, done.stderr)]
        recording.add(here.host, Said(key_of(FED, *argv), changes=True, answer=answer))
        return done

    with (
        patch.object(Shell, "_round_trip", round_trip),
        patch.object(Shell, "start", start),
        patch.object(Shell, "feed", feed),
    ):
        yield


class _RecordingProcess:
    """A real process whose answers are recorded."""

    def __init__(self, inner: connection.Attached, recording: Recording) -> None:
        self._inner, self._recording = inner, recording
        self.channel = inner.channel

    def _add(self, key: str, *answer: Any) -> None:
        self._recording.add(self._inner.host, Said(key, changes=False, answer=[answer]))

    def wait_for(self, text: str) -> str:
        """As the process's own."""
        seen = self._inner.wait_for(text)
        self._add(key_of(READ, *self._inner.argv, text), 0, seen, "")
        return seen

    def read_until(self, enough: Callable[[str], bool], *, within_s: float) -> str:
        """As the process's own."""
        seen = self._inner.read_until(enough, within_s=within_s)
        self._add(key_of(READ, *self._inner.argv), 0, seen, "")
        return seen

    def end(self) -> None:
        """As the process's own."""
        self._inner.end()

    def stop(self) -> Completed:
        """As the process's own."""
        done = self._inner.stop()
        self._add(key_of(STOPPED, *self._inner.argv), done.exit_code, done.stdout, done.stderr)
        return done
