"""Measured paths as delay lines at a twin's firewall, which every path crosses. Pure.

The lines are the lab's own engine (`vpnmesh-nfq`), but no impairment of a run: they belong to the lab as its port
rates do, stand for as long as it is up, and are where nothing of a run is (the raw table, before connections are
tracked; a run's own impairments are in the mangle table, behind them, and come on top).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vpnmesh.doctor.paths import RecordedPath, RecordedPaths, ends_of
from vpnmesh.errors import InputError
from vpnmesh.impairment.engine import auto_limit_packets
from vpnmesh.lab.topology import Argv
from vpnmesh.model import Condition, Testbed

FIRST_QUEUE = 2300
LEAST_MS = 0.05
"""What is left of a round trip is not replayed below this: waking the engine takes as long."""
ENGINE_MS = 0.15
"""What crossing the engine twice costs by itself: it sleeps in steps of 0.1 ms, and has to be woken."""
STEP_MS = 0.05
LIFETIME_S = 31_536_000
COMMENT = "vpnmesh-twin"
_ROOM_PACKETS = 10_000
Ends = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ReplayedPath:
    """What a path of the twin gets on top of its own round trip; `delay_ms` and `loss_pct` are there and back."""

    first: str
    second: str
    recorded_ms: float
    recorded_loss_pct: float
    own_ms: float
    delay_ms: float

    @property
    def in_words(self) -> str:
        """What was measured, and what is added for it."""
        recorded = f"{self.recorded_ms:.2f} ms, {self.recorded_loss_pct:.2f} % lost"
        return f"{self.first} - {self.second}: {recorded} ({self.delay_ms:g} ms added)"

    @property
    def one_way(self) -> Condition:
        """Half of the delay, and the loss that there and back amounts to the recorded one."""
        loss = 1 - (1 - self.recorded_loss_pct / 100) ** 0.5
        return Condition(loss_pct=round(100 * loss, 4), delay_ms=round(self.delay_ms / 2, 4))


@dataclass(frozen=True, slots=True)
class DelayLine:
    """One process of the engine, and the directions (from node, to node) that it delays."""

    queue: int
    condition: Condition
    directions: tuple[Ends, ...]

    @property
    def limit_packets(self) -> int:
        """Room for what all its directions send during the delay, and for its own stalls."""
        return max(_ROOM_PACKETS, auto_limit_packets(self.condition) * len(self.directions))


def plan_replay(
    found: RecordedPaths, testbed: Testbed, own_ms: Mapping[Ends, float], place: str
) -> tuple[ReplayedPath, ...]:
    """What each path needs, given the round trips that the twin has by itself.

    InputError where the file names a node that the testbed has not, or a path that never answered.
    """
    check_paths(found, testbed, place)
    return tuple(_replayed(path, own_ms) for path in found.paths)


def check_paths(found: RecordedPaths, testbed: Testbed, place: str) -> None:
    """InputError where these paths are not those of the testbed, or cannot be replayed."""
    ends = ends_of(testbed)
    for path in found.paths:
        for name in path.ends:
            if name not in ends:
                known = ", ".join(ends)
                raise InputError(
                    place, f"no node {name} between whose peers a path could be", f"known are: {known}"
                )
        if path.rtt_ms is None:
            raise InputError(
                place,
                f"nothing ever came back between {path.first} and {path.second}",
                "mend the real path and record again, or take it out of the file",
            )


def _replayed(path: RecordedPath, own_ms: Mapping[Ends, float]) -> ReplayedPath:
    wanted, own = path.rtt_ms or 0.0, own_ms[path.ends]
    left = wanted - own - ENGINE_MS
    delay = 0.0 if left < LEAST_MS else round(left / STEP_MS) * STEP_MS
    return ReplayedPath(path.first, path.second, wanted, path.loss_pct, own, round(delay, 4))


def delay_lines(paths: Iterable[ReplayedPath]) -> tuple[DelayLine, ...]:
    """A line per different condition: paths that are alike share one, for a line keeps the time of each packet."""
    found: dict[Condition, list[Ends]] = {}
    for path in paths:
        if path.one_way:
            directions = found.setdefault(path.one_way, [])
            directions += [(path.first, path.second), (path.second, path.first)]
    return tuple(
        DelayLine(FIRST_QUEUE + index, condition, tuple(directions))
        for index, (condition, directions) in enumerate(found.items())
    )


def start_command(line: DelayLine, binary: str, folder: str) -> Argv:
    """Start the engine; it returns once it holds its queue, so that no rule comes before it."""
    condition = line.condition
    return (
        *(binary, "--queue", str(line.queue)),
        *("--delay-ms", f"{condition.delay_ms:g}", "--loss-pct", f"{condition.loss_pct:g}"),
        *("--limit", str(line.limit_packets), "--seed", str(line.queue), "--lifetime", str(LIFETIME_S)),
        *("--stats", f"{folder}/{line.queue}.stats", "--pidfile", f"{folder}/{line.queue}.pid"),
    )


def rules(line: DelayLine, testbed: Testbed) -> str:
    """The rules of a line as `iptables-restore` reads them: by the port that packets come in at, and by their ends."""
    ports = {leg.vid: leg.interface for leg in testbed.firewall.legs}
    rows = []
    for source, target in line.directions:
        one, other = testbed.node(source), testbed.node(target)
        ends = f"-i {ports[one.leg.vid]} -s {testbed.vlan(one.leg.vid).prefix} -d {testbed.vlan(other.leg.vid).prefix}"
        rows.append(
            f"-A PREROUTING {ends} -m comment --comment {COMMENT} -j NFQUEUE --queue-num {line.queue}"
        )
    return "\n".join(rows)


def restore_text(lines: Iterable[DelayLine], testbed: Testbed) -> str:
    """All rules of a replay at once."""
    return "\n".join(("*raw", *(rules(line, testbed) for line in lines), "COMMIT", ""))
