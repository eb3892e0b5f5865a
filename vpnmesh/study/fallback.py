"""What two streams saw of one event in the network: outages, loss and order, from the records that came.

An event is made while both streams flow, and undone while they go on. Everything is told by the receiver's clock, and
counted from the moment when the event was begun. Nothing here touches a host.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vpnmesh.errors import CheckError, UnknownNameError
from vpnmesh.model import Path, Scenario
from vpnmesh.study.scenarios import Catalogue
from vpnmesh.tools.streams import TCP_BYTES, Arrival, Sent

FLOWS_S = 2.0
"""How long both streams must flow without a break until they count as flowing again."""
BREAK_S = 0.5
"""A silence longer than this is a break: a hundred datagrams, many times what a busy machine holds back."""
BACK_S = 180.0
"""How long streams may take to flow again once an event was undone: TCP waits twice as long after every try, and some
VPNs offer a lost relay again after half a minute only."""
KEEPALIVE_S = 30.0
"""Five seconds more than the usual keepalive through a NAT (WireGuard's manual: 25 s)."""
BIN_S = 0.1
"""The width of a step of the pictures."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is done to the network: `path` is that of the scenario in which it means anything.

    `made` says what is done and where, `undone` how it is taken back, "" where it is not. With `falls_back` the VPN
    has time to find its relay. It lasts `least_s` seconds at least: keepalives notice late that a path is gone.
    """

    name: str
    title: str
    path: Path
    made: str
    undone: str = ""
    falls_back: bool = False
    least_s: float = 0.0


EVENTS = {
    one.name: one
    for one in (
        Event(
            "path-cut",
            "the direct path is cut",
            Path.DIRECT,
            "the firewall blocks UDP between all VLANs",
            "the firewall lets it pass again",
            falls_back=True,
        ),
        Event(
            "relay-lost",
            "the relay is lost",
            Path.RELAY,
            "the relay's daemons are killed",
            "they are started again",
        ),
        Event(
            "control-lost",
            "the control plane is lost",
            Path.DIRECT,
            "the control plane's daemons are killed",
            "they are started again",
        ),
        Event(
            "address-change",
            "the client's address changes",
            Path.DIRECT,
            "the client's underlay address becomes another one of its VLAN",
            "it becomes the former one again",
            least_s=KEEPALIVE_S,
        ),
        Event(
            "node-added",
            "a node joins the mesh",
            Path.DIRECT,
            "a member that was taken off before joins with new keys",
        ),
    )
}
"""All events, in the order in which they are made."""


def event_named(name: str) -> Event:
    """The event of that name; UnknownNameError lists the known ones."""
    if name not in EVENTS:
        raise UnknownNameError("--events", "event", name, list(EVENTS))
    return EVENTS[name]


def scenario_of(catalogue: Catalogue, solution: str, event: Event) -> Scenario | None:
    """The scenario in which the event is made: the solution's first with that path; None where it has none."""
    mine = (one for one in catalogue.scenarios if one.solution == solution and not one.variant_of)
    return next((one for one in mine if one.path is event.path), None)


@dataclass(frozen=True, slots=True)
class Marks:
    """When an event was begun and done, when both streams were last looked at, and when it was taken back and undone.

    By the receiver's clock; None where an event is not undone.
    """

    begun_s: float
    done_s: float
    ended_s: float
    undo_s: float | None = None
    undone_s: float | None = None

    def since_begun(self, at_s: float | None) -> float | None:
        """Seconds since the event was begun."""
        return None if at_s is None else round(at_s - self.begun_s, 3)


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest time in which nothing came, around a moment of a stream.

    `came_back` is False where nothing came any more in the time that was watched; `first_s` is when the first record
    came after it, counted from the event.
    """

    longest_s: float
    came_back: bool
    first_s: float | None


@dataclass(frozen=True, slots=True)
class UdpSeen:
    """The datagrams: how many of those sent were lost, how many came twice or after a later one."""

    sent: int
    lost: int
    lost_before: int
    reordered: int
    duplicates: int
    silence: Silence
    undo_silence: Silence | None


@dataclass(frozen=True, slots=True)
class TcpSeen:
    """The writes: how many never came, and over how many connections; one is all that an application wants."""

    written: int
    lost: int
    connections: int
    silence: Silence
    undo_silence: Silence | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Datagrams that were lost one after the other: when the first and the last of them would have come."""

    from_s: float
    to_s: float
    count: int


@dataclass(frozen=True, slots=True)
class Steps:
    """The streams in steps of `BIN_S` from `from_s` on, for pictures, and what was lost or late when.

    `udp` are datagrams, `tcp_kbit_s` is what the application got. All seconds are counted from the event.
    """

    from_s: float
    udp: tuple[int, ...]
    tcp_kbit_s: tuple[float, ...]
    gaps: tuple[Gap, ...]
    late_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the streams saw of an event; `quiet_s` is the longest silence before it, `pause_s` the sender's own."""

    udp: UdpSeen
    tcp: TcpSeen
    quiet_s: float
    pause_s: float
    steps: Steps


def seen(udp: Sequence[Arrival], tcp: Sequence[Arrival], sent: Sent, marks: Marks) -> Seen:
    """What became of both streams; CheckError where one of them did not flow before the event."""
    for name, stream in (("UDP", udp), ("TCP", tcp)):
        if sum(one.at_s < marks.begun_s for one in stream) < 2:  # noqa: PLR2004 - a silence is between two
            raise CheckError("streams", f"{name} did not flow before the event")
    lost = lost_numbers(udp, sent.udp_sent)
    when = _sent_at(udp, lost)
    return Seen(
        UdpSeen(
            sent=sent.udp_sent,
            lost=len(lost),
            lost_before=sum(at_s < marks.begun_s for at_s in when),
            reordered=len(late(udp)),
            duplicates=len(udp) - len({one.number for one in udp}),
            silence=_first_silence(udp, marks),
            undo_silence=_second_silence(udp, marks),
        ),
        TcpSeen(
            written=sent.tcp_written,
            lost=len(lost_numbers(tcp, sent.tcp_written)),
            connections=sent.tcp_connections,
            silence=_first_silence(tcp, marks),
            undo_silence=_second_silence(tcp, marks),
        ),
        quiet_s=round(_longest([one.at_s for one in udp if one.at_s < marks.begun_s]), 3),
        pause_s=sent.longest_pause_s,
        steps=_steps(udp, tcp, gaps(lost, [at_s - marks.begun_s for at_s in when]), marks),
    )


def lost_numbers(stream: Iterable[Arrival], sent: int) -> list[int]:
    """The numbers below `sent` that never came."""
    came = {one.number for one in stream}
    return [number for number in range(sent) if number not in came]


def gaps(numbers: Sequence[int], moments: Sequence[float]) -> list[Gap]:
    """The lost numbers as runs, with their moments."""
    found: list[Gap] = []
    before = None
    for number, at_s in zip(numbers, moments, strict=True):
        moment = round(at_s, 3)
        if found and before == number - 1:
            found[-1] = Gap(found[-1].from_s, moment, found[-1].count + 1)
        else:
            found.append(Gap(moment, moment, 1))
        before = number
    return found


def late(stream: Iterable[Arrival]) -> list[Arrival]:
    """What came after a record that was sent later; a second copy is no late one."""
    highest, known, found = -1, set[int](), []
    for one in stream:
        if one.number < highest and one.number not in known:
            found.append(one)
        known.add(one.number)
        highest = max(highest, one.number)
    return found


def flows(stream: Sequence[Arrival], now_s: float) -> bool:
    """Whether it has flowed for `FLOWS_S` until now: no break in what came, nor in what was sent.

    What waited in a queue comes all at once and was sent long ago: a stream that catches up does not flow yet.
    """
    recent = [one for one in stream if one.at_s >= now_s - FLOWS_S]
    if len(recent) < FLOWS_S / BREAK_S:
        return False
    came = [now_s - FLOWS_S, *(one.at_s for one in recent), now_s]
    delays = [one.at_s - one.sent_s for one in recent]
    return _longest(came) < BREAK_S and max(delays) - min(delays) < BREAK_S


def _longest(moments: Sequence[float]) -> float:
    return max((after - before for before, after in pairwise(moments)), default=0.0)


def _first_silence(stream: Sequence[Arrival], marks: Marks) -> Silence:
    """From the last record before the event until it is taken back, or until the end."""
    before = max(one.at_s for one in stream if one.at_s < marks.begun_s)
    until_s = marks.ended_s if marks.undo_s is None else marks.undo_s
    return _silence(stream, before, until_s, marks)


def _second_silence(stream: Sequence[Arrival], marks: Marks) -> Silence | None:
    """Since the event was begun to be taken back; a silence that was there already counts from then on."""
    return None if marks.undo_s is None else _silence(stream, marks.undo_s, marks.ended_s, marks)


def _silence(stream: Sequence[Arrival], from_s: float, until_s: float, marks: Marks) -> Silence:
    """The longest silence between these two moments; what lasts until the second one and is a break has no end."""
    moments = [from_s, *sorted(one.at_s for one in stream if from_s < one.at_s < until_s)]
    longest_s, first_s = _gap(moments)
    open_s = until_s - moments[-1]
    if open_s > max(longest_s, BREAK_S):
        return Silence(round(open_s, 3), came_back=False, first_s=None)
    return Silence(round(longest_s, 3), came_back=True, first_s=marks.since_begun(first_s))


def _gap(moments: Sequence[float]) -> tuple[float, float | None]:
    """The longest time between two moments, and the later of the two."""
    gaps = [(after - before, after) for before, after in pairwise(moments)]
    return max(gaps, default=(0.0, None), key=lambda one: one[0])


def _sent_at(stream: Sequence[Arrival], lost: Iterable[int]) -> list[float]:
    """When these numbers would have come: the sender's times between their neighbours, by the receiver's clock.

    The two clocks are apart by at most what the fastest record took.
    """
    known = sorted({one.number: one.sent_s for one in stream}.items())
    if not known:
        return []
    apart_s = min(one.at_s - one.sent_s for one in stream)
    every_s = (known[-1][1] - known[0][1]) / max(1, known[-1][0] - known[0][0])
    found, place = list[float](), 0
    for number in lost:
        while place + 1 < len(known) and known[place + 1][0] < number:
            place += 1
        near, near_s = known[place]
        found.append(near_s + (number - near) * every_s + apart_s)
    return found


def _steps(udp: Sequence[Arrival], tcp: Sequence[Arrival], lost: Sequence[Gap], marks: Marks) -> Steps:
    first_s = min(one.at_s for one in (*udp, *tcp))
    last_s = max(one.at_s for one in (*udp, *tcp))
    count = int((last_s - first_s) / BIN_S) + 1
    kbit_s = TCP_BYTES * 8 / 1000 / BIN_S
    return Steps(
        from_s=round(first_s - marks.begun_s, 3),
        udp=tuple(_counts(udp, first_s, count)),
        tcp_kbit_s=tuple(round(number * kbit_s, 1) for number in _counts(tcp, first_s, count)),
        gaps=tuple(lost),
        late_s=tuple(round(one.at_s - marks.begun_s, 2) for one in late(udp)),
    )


def _counts(stream: Iterable[Arrival], first_s: float, count: int) -> list[int]:
    counts = [0] * count
    for one in stream:
        counts[min(count - 1, max(0, int((one.at_s - first_s) / BIN_S)))] += 1
    return counts
