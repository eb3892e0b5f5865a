"""How a cluster fared while its network changed: phases, and for each thing that was watched the spans of its states.

Everything here is made of times; nothing touches a host. Seconds count from the first phase's beginning.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise


class Lane(StrEnum):
    """What is watched, in the order of pictures."""

    PATH = "path"
    API_NODE = "api-node"
    API_POD = "api-pod"
    PODS = "pods"
    WATCH = "watch"
    NODES = "nodes"
    ENDPOINTS = "endpoints"
    ROUTES = "routes"


STEP_S = 0.25
"""How often the watchers ask and look: what lasts shorter in a phase is the neighbour's."""
OUTAGE_S = 1.0
"""A silence of what answers four times a second counts from here on, as a steady path's does."""
AWAY, BROKEN, MISSING, READY, LOST = "away", "broken", "missing", "Ready", "lost"


@dataclass(frozen=True, slots=True)
class Span:
    """That something of a lane was in a state for a time."""

    lane: Lane
    subject: str
    state: str
    from_s: float
    to_s: float

    def within(self, from_s: float, to_s: float) -> float:
        """How many seconds of it are between these two times."""
        return max(0.0, min(self.to_s, to_s) - max(self.from_s, from_s))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at one time: a watch that ended, an endpoint or a pod that went."""

    lane: Lane
    subject: str
    what: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Phase:
    """One change of the network: from when it was made until the next.

    `path_s` = seconds until the wanted path was there for good, 0 where it never left it; None where none was awaited
    or none came. `put_back_s` = when vpnmesh put the pods' interface back, None where that was not needed.
    """

    name: str
    from_s: float
    to_s: float
    path_s: float | None = None
    put_back_s: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """All that was seen in one repetition; `accuracy_s` is how well the clocks of the two nodes are known."""

    phases: tuple[Phase, ...]
    spans: tuple[Span, ...]
    events: tuple[Event, ...]
    watched: frozenset[Lane]
    accuracy_s: float

    def longest_s(self, lane: Lane, phase: Phase | None = None) -> float:
        """The longest bad span of that lane, all of it or the part that is in the phase; 0 where there is none."""
        from_s, to_s = (phase.from_s, phase.to_s) if phase else (0.0, self.phases[-1].to_s)
        longest_s = max((span.within(from_s, to_s) for span in self.bad(lane)), default=0.0)
        return longest_s if longest_s >= STEP_S else 0.0

    def bad(self, lane: Lane) -> Iterator[Span]:
        """The spans in which something of that lane was not as it should be; a path has no such spans."""
        return (span for span in self.spans if span.lane is lane and is_bad(span))

    def happened(self, lane: Lane, what: str, phase: Phase | None = None) -> int:
        """How often that happened, in all or in the phase."""
        return sum(
            event.lane is lane
            and event.what == what
            and (phase is None or phase.from_s <= event.at_s < phase.to_s)
            for event in self.events
        )


def is_bad(span: Span) -> bool:
    """Whether that state is one that users of the cluster would notice."""
    return span.lane is not Lane.PATH and span.state != READY


def silences(arrivals: Sequence[float], from_s: float, to_s: float) -> Iterator[tuple[float, float]]:
    """The times between two answers in a row that are outages, the beginning and the end counted as answers."""
    inside = sorted(at for at in arrivals if from_s < at < to_s)
    yield from ((a, b) for a, b in pairwise([from_s, *inside, to_s]) if b - a > OUTAGE_S)


def states(changes: Iterable[tuple[float, str]], to_s: float) -> Iterator[tuple[float, float, str]]:
    """From, to and state of every stretch of equal states; the last goes on to the end."""
    begun: tuple[float, str] | None = None
    for at_s, state in changes:
        if begun and state != begun[1]:
            yield begun[0], at_s, begun[1]
        if begun is None or state != begun[1]:
            begun = (at_s, state)
    if begun and to_s > begun[0]:
        yield begun[0], to_s, begun[1]
