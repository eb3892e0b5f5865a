"""Round trips and loss of the paths between nodes, as a file: recorded on one testbed, replayed and compared elsewhere.

A path is measured in rounds, since an interval takes several figures and the pings of one round depend on each other.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import combinations

from pydantic import TypeAdapter, ValidationError

from vpnmesh.documents.names import label_problem, title_problem
from vpnmesh.errors import InputError
from vpnmesh.model import Role, Testbed
from vpnmesh.plan import Command, Completed, Fact
from vpnmesh.tools import ping
from vpnmesh.tools.ping import PingSummary

SCHEMA_VERSION = 1
ROUNDS = 8
"""More than the 6 figures that a 95 % interval of a mean takes."""
PINGS = 25
INTERVAL_S = 0.04
_WAIT_S = 2.0
_MOST_MS = 60_000.0
_MARK = "path "
# constant script; ping's options come before `--`, addresses after. One write per address: lines never mix
_ROUND = """
options=; while [ "$1" != -- ]; do options="$options $1"; shift; done; shift
for a in "$@"; do ( said=$(ping $options "$a" 2>&1); printf 'path %s\\n%s\\n' "$a" "$said" ) & done; wait
"""


@dataclass(frozen=True, slots=True)
class PathRound:
    """Some pings in a row; without an answer there are no times."""

    sent: int
    received: int
    rtt_min_ms: float | None
    rtt_avg_ms: float | None

    def __post_init__(self) -> None:
        """ValueError where the numbers contradict each other."""
        times = (self.rtt_min_ms, self.rtt_avg_ms)
        if not 0 <= self.received <= self.sent or self.sent < 1:
            raise ValueError(f"{self.received} answers to {self.sent} pings")
        if any((time is None) != (self.received == 0) for time in times):
            raise ValueError("times without answers, or answers without times")
        if any(time is not None and not 0 <= time <= _MOST_MS for time in times):
            raise ValueError(f"a time is not in 0 to {_MOST_MS:g} ms")


@dataclass(frozen=True, slots=True)
class RecordedPath:
    """Both directions between two nodes, by name."""

    first: str
    second: str
    rounds: tuple[PathRound, ...]

    @property
    def ends(self) -> tuple[str, str]:
        """The two nodes."""
        return self.first, self.second

    @property
    def rtts_ms(self) -> tuple[float, ...]:
        """The mean round trip of every round that had an answer."""
        return tuple(one.rtt_avg_ms for one in self.rounds if one.rtt_avg_ms is not None)

    @property
    def rtt_ms(self) -> float | None:
        """The typical round trip: the median of the rounds' means; None where nothing ever came back."""
        return statistics.median(self.rtts_ms) if self.rtts_ms else None

    @property
    def sent(self) -> int:
        """All pings."""
        return sum(one.sent for one in self.rounds)

    @property
    def lost(self) -> int:
        """All pings without an answer."""
        return self.sent - sum(one.received for one in self.rounds)

    @property
    def loss_pct(self) -> float:
        """The share of pings without an answer, there and back."""
        return 100 * self.lost / self.sent


@dataclass(frozen=True, slots=True)
class RecordedPaths:
    """The file: which testbed, when, what it ran on, and a path per two nodes."""

    schema_version: int
    testbed: str
    recorded_at: str
    substrate: str
    paths: tuple[RecordedPath, ...]

    def to_json(self) -> bytes:
        """The file's content."""
        return _RECORDED.dump_json(self, indent=1) + b"\n"


_RECORDED = TypeAdapter(RecordedPaths)


def parse_paths(content: bytes, place: str) -> RecordedPaths:
    """Read what `to_json` wrote; InputError names what is wrong in it."""
    way_out = "record it again: python -m workflows.doctor --record-paths FILE"
    try:
        found = _RECORDED.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(place, f"{where}: {first['msg']}", way_out) from error
    if found.schema_version != SCHEMA_VERSION:
        raise InputError(place, f"schema_version {found.schema_version} is not {SCHEMA_VERSION}", way_out)
    _check_names(found, place, way_out)
    known = [frozenset(path.ends) for path in found.paths]
    if any(len(ends) == 1 for ends in known) or len(set(known)) < len(known):
        raise InputError(place, "a path is there twice, or leads from a node to itself", way_out)
    if any(not path.rounds for path in found.paths):
        raise InputError(place, "a path without rounds", way_out)
    return found


def _check_names(found: RecordedPaths, place: str, way_out: str) -> None:
    """Names are shown on terminals and pages: nothing that could be more than a name gets there."""
    named = [(found.testbed, title_problem(found.testbed))]
    named += [(name, label_problem(name)) for path in found.paths for name in path.ends]
    for name, problem in named:
        if problem:
            raise InputError(place, f"{name[:80]!r} {problem}", way_out)


def ends_of(testbed: Testbed) -> dict[str, IPv4Address]:
    """The nodes between which paths are, with their underlay addresses: all but the firewall, which is on each path."""
    return {node.name: node.underlay for node in testbed.nodes if Role.FIREWALL not in node.roles}


def asked_by(testbed: Testbed) -> dict[str, dict[str, IPv4Address]]:
    """Which node pings which others, so that every path is asked once."""
    ends = ends_of(testbed)
    asked: dict[str, dict[str, IPv4Address]] = {}
    for one, other in combinations(ends, 2):
        asked.setdefault(one, {})[other] = ends[other]
    return asked


def round_to(
    addresses: Sequence[IPv4Address], count: int = PINGS, interval_s: float = INTERVAL_S
) -> Fact[dict[IPv4Address, PingSummary]]:
    """A round of pings to all these addresses side by side; ToolError where ping could not even start."""
    *options, _ = ping.argv("ADDRESS", count, interval_s=interval_s, wait_s=_WAIT_S)
    argv = ("sh", "-c", _ROUND, "sh", *options[1:], "--", *map(str, addresses))
    limit_s = ping.seconds(count, interval_s=interval_s, wait_s=_WAIT_S) + 20
    return Fact((Command(argv, timeout_s=limit_s),), _answers)


def _answers(completed: Sequence[Completed]) -> dict[IPv4Address, PingSummary]:
    answers: dict[IPv4Address, PingSummary] = {}
    for part in f"\n{completed[0].stdout}".split(f"\n{_MARK}")[1:]:
        address, _, said = part.partition("\n")
        answers[IPv4Address(address.strip())] = ping.parse(said)
    return answers


def path_round(seen: PingSummary) -> PathRound:
    """What of a ping is kept."""
    rtt = seen.rtt
    return PathRound(seen.sent, seen.received, rtt.min_ms if rtt else None, rtt.avg_ms if rtt else None)


def recorded(
    asked: Mapping[str, Mapping[str, IPv4Address]],
    rounds: Sequence[Mapping[str, Mapping[IPv4Address, PingSummary]]],
) -> tuple[RecordedPath, ...]:
    """The paths of all rounds; each round is what every node saw, by address. A node that saw nothing has no path."""
    paths = []
    for one, others in asked.items():
        for other, address in others.items():
            seen = [answers[one][address] for answers in rounds if address in answers.get(one, {})]
            if seen:
                paths.append(RecordedPath(one, other, tuple(path_round(each) for each in seen)))
    return tuple(paths)
