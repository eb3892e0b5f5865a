"""What every node answered in one run, kept in a file, and nodes that answer out of it: no network, no lab.

A node's answers are in the order in which it gave them, each with the part of the run (scenario, condition, repetition)
in which it was asked. So a run that makes some of the recorded parts hears in each of them what was heard there.
"""

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

from inventory.lines import Line
from tasks import connection
from tasks.connection import Shell
from tasks.script import argv_of, rendered
from vpnmesh.errors import CommandError
from vpnmesh.plan import Completed, Step
from workflows.run import impair as run_impair
from workflows.run import measure as run_measure
from workflows.run import provision as run_provision
from workflows.run import runner

ASKED, CHANGED, STARTED, READ, STOPPED, FED = "asked", "changed", "started", "read", "stopped", "fed"
Answer = list[tuple[int, str, str]]
"""Exit code, stdout and stderr of each step that was carried out."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of a node: to which question, by its digest, and in which part of the run."""

    key: str
    answer: Answer
    scene: str = ""


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
            self.nodes.setdefault(host, []).append(replace(said, scene=Scene.now))

    def save(self, path: Path) -> None:
        """Write it, each text once."""
        texts: dict[str, int] = {}
        nodes = {
            host: [
                [
                    one.key,
                    texts.setdefault(one.scene, len(texts)),
                    *(self._packed(step, texts) for step in one.answer),
                ]
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
                        [(code, texts[out], texts[err]) for code, out, err in answer],
                        texts[scene],
                    )
                    for key, scene, *answer in said
                ]
                for host, said in content["nodes"].items()
            }
        )


class Scene:
    """Which part of the run is under way: a scenario, a condition of it, or a repetition; the same in every run."""

    now = ""

    @classmethod
    @contextmanager
    def of(cls, name: str) -> Iterator[None]:
        """Within, this is the part."""
        before, cls.now = cls.now, name
        try:
            yield
        finally:
            cls.now = before


@contextmanager
def scenes() -> Iterator[None]:
    """Within, a run says which part of it is under way."""

    @contextmanager
    def provisioned(site: Any, scenario: Any) -> Iterator[Any]:
        with Scene.of(scenario.name), run_provision.provisioned(site, scenario) as deployed:
            yield deployed

    @contextmanager
    def impaired(site: Any, engine: Any, condition: Any, *more: Any) -> Iterator[Any]:
        with (
            Scene.of(f"{Scene.now}/{condition.name}"),
            run_impair.impaired(site, engine, condition, *more) as held,
        ):
            yield held

    def measure(context: Any, attempt: Any, *more: Any) -> Any:
        with Scene.of(f"{attempt.cell.key}/{attempt.repetition}"):
            return run_measure.measure(context, attempt, *more)

    with (
        patch.object(runner, "provisioned", provisioned),
        patch.object(runner, "impaired", impaired),
        patch.object(runner, "measure", measure),
    ):
        yield


@dataclass(slots=True)
class RecordedNode:
    """A node that answers as it did in the part of the run that is under way.

    There it gives its answers in order: after a change none from before it, and its last one again where it is asked
    more often than it was.
    """

    host: str
    said: Sequence[Said]
    _given: dict[str, int] = field(default_factory=dict)
    _by_key: dict[str, list[int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Find answers by question."""
        for number, one in enumerate(self.said):
            self._by_key.setdefault(one.key, []).append(number)

    def answer(self, key: str, what: str) -> Answer:
        """What the node said to that; CommandError where it was never asked."""
        with self._lock:
            places = self._by_key.get(key)
            if places is None:
                raise CommandError(self.host, (what[:4000],), 99, "was not asked this when it was recorded")
            mine = [one for one in places if self.said[one].scene == Scene.now]
            number = self._chosen(mine or self._nearby(places))
            if mine:
                self._given[Scene.now] = max(number, self._given.get(Scene.now, -1))
            return self.said[number].answer

    def _chosen(self, places: Sequence[int]) -> int:
        """The next one, else the last again."""
        given = self._given.get(Scene.now, -1)
        return next((one for one in places if one > given), places[-1])

    def _nearby(self, places: Sequence[int]) -> Sequence[int]:
        """The answers of the nearest part around this one, of whatever part where there is none."""
        around = Scene.now
        while around:
            around = around.rpartition("/")[0]
            if found := [one for one in places if self.said[one].scene == around]:
                return found
        return places


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
    nodes = {host: RecordedNode(host, said) for host, said in recording.nodes.items()}
    alive = SimpleNamespace(is_active=lambda: True, sock=SimpleNamespace(close=lambda: None))

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

    def log_in(_host: object, _config: object, line: Line, *_: object) -> None:
        client: Any = SimpleNamespace(get_transport=lambda: alive, close=lambda: None)
        line.client = client

    with (
        scenes(),
        patch.object(Shell, "_round_trip", round_trip),
        patch.object(Shell, "start", start),
        patch.object(Shell, "feed", feed),
        patch.object(connection, "log_in", log_in),
    ):
        yield nodes


@contextmanager
def recorded(recording: Recording) -> Iterator[None]:
    """Within, every answer of every real shell goes into the recording too."""
    own_round_trip, own_start, own_feed = Shell._round_trip, Shell.start, Shell.feed

    def round_trip(here: Shell, steps: Sequence[Step], *, stop: bool) -> list[Completed]:
        completed = own_round_trip(here, steps, stop=stop)
        answer = [(one.exit_code, one.stdout, one.stderr) for one in completed]
        recording.add(here.host, Said(script_key(steps, stop=stop), answer))
        return completed

    def start(here: Shell, argv: Sequence[str], *, timeout_s: float) -> Any:
        recording.add(here.host, Said(key_of(STARTED, *argv), answer=[(0, "", "")]))
        return _RecordingProcess(own_start(here, argv, timeout_s=timeout_s), recording)

    def feed(here: Shell, argv: Sequence[str], chunks: Iterable[bytes], *, stalled_s: float) -> Completed:
        done = own_feed(here, argv, chunks, stalled_s=stalled_s)
        answer = [(done.exit_code, done.stdout, done.stderr)]
        recording.add(here.host, Said(key_of(FED, *argv), answer=answer))
        return done

    with (
        scenes(),
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
        self._recording.add(self._inner.host, Said(key, answer=[answer]))

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
