"""What two streams saw of an event: from records made by hand, and from the program itself over loopback."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from vpnmesh.errors import CheckError, InputError, ToolError
from vpnmesh.host.roaming import cannot_roam, free_address
from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.solutions import solution_named
from vpnmesh.study.fallback import EVENTS, FLOWS_S, Marks, flows, late, scenario_of, seen
from vpnmesh.study.fallback_record import (
    UNAVAILABLE,
    Attempt,
    Outcome,
    When,
    finished,
    line_of,
    newest,
    read_attempts,
)
from vpnmesh.study.scenarios import BUILT_IN
from vpnmesh.tools import streams
from vpnmesh.tools.streams import Arrival, Sent
from workflows.fallback import main
from workflows.run.fallback_events import HAPPENINGS, changes_of, impossible
from workflows.run.fallback_store import FallbackStore

BED = read_testbed(Path(__file__).parents[2] / "inventory" / "lab")
APART_S = 1000.0
"""How far the receiver's clock is ahead of the sender's."""


def stream(seconds: float, per_s: float, lost: Iterable[tuple[float, float]] = ()) -> list[Arrival]:
    """Records by the clock, on the way for a millisecond, but for those sent within the spans that are lost."""
    numbers = range(int(seconds * per_s))
    spans = list(lost)
    return [
        Arrival(number, number / per_s, APART_S + number / per_s + 0.001)
        for number in numbers
        if not any(begin <= number / per_s < end for begin, end in spans)
    ]


def sent(udp: int, tcp: int = 500) -> Sent:
    """What a sender says that was never kept from sending."""
    return Sent(udp, 0, tcp, 1, 0, 0.006)


MARKS = Marks(APART_S + 5, APART_S + 5.2, APART_S + 20, APART_S + 12, APART_S + 12.3)


def test_an_outage_that_ends_by_itself() -> None:
    """Four seconds without a datagram: so many are lost, when they would have come, and TCP brings all of it later."""
    udp = stream(20, 200, [(5.1, 9.1)])
    tcp = [one if not 5.1 <= one.sent_s < 9.3 else Arrival(one.number, one.sent_s, APART_S + 9.3)
           for one in stream(20, 50)]  # fmt: skip
    found = seen(udp, tcp, sent(4000, 1000), MARKS)
    assert (found.udp.lost, found.udp.sent, found.udp.lost_before) == (800, 4000, 0)
    assert found.udp.silence.longest_s == pytest.approx(4.005, abs=0.002)
    assert found.udp.silence.first_s == pytest.approx(4.1, abs=0.01)
    assert found.udp.silence.came_back
    assert found.udp.undo_silence is not None
    assert found.udp.undo_silence.longest_s < 0.01
    assert (found.tcp.lost, found.tcp.silence.came_back) == (0, True)
    assert found.tcp.silence.longest_s == pytest.approx(4.22, abs=0.03)
    (gap,) = found.steps.gaps
    assert gap.from_s == pytest.approx(0.1, abs=0.02)
    assert gap.to_s == pytest.approx(4.1, abs=0.02)
    assert gap.count == 800
    assert sum(found.steps.udp) == 3200


def test_an_outage_that_only_undoing_ends() -> None:
    """It has no end before, and what comes after is counted from when undoing began."""
    udp, tcp = stream(20, 200, [(5, 13)]), stream(20, 50, [(5, 14)])
    found = seen(udp, tcp, sent(4000), MARKS)
    assert (found.udp.silence.came_back, found.udp.silence.first_s) == (False, None)
    assert found.udp.silence.longest_s == pytest.approx(7, abs=0.02)
    assert found.udp.undo_silence is not None
    assert found.udp.undo_silence.longest_s == pytest.approx(1, abs=0.02)
    assert found.udp.undo_silence.first_s == pytest.approx(8, abs=0.02)
    assert found.tcp.undo_silence is not None
    assert found.tcp.undo_silence.longest_s == pytest.approx(2, abs=0.03)


def test_a_stream_that_never_comes_back_is_said_to() -> None:
    """Also where the event is not undone, and also after undoing."""
    gone, whole = stream(20, 200, [(6, 99)]), stream(20, 50)
    found = seen(gone, whole, sent(4000), MARKS)
    assert found.udp.undo_silence is not None
    assert (found.udp.silence.came_back, found.udp.undo_silence.came_back) == (False, False)
    once = seen(gone, whole, sent(4000), Marks(MARKS.begun_s, MARKS.done_s, MARKS.ended_s))
    assert (once.udp.silence.came_back, once.udp.undo_silence) == (False, None)
    assert once.tcp.silence.came_back
    assert once.tcp.lost == 0
    # what was written for a connection that was dead by then never came, either
    assert seen(stream(20, 200), stream(20, 50, [(6, 99)]), sent(4000, 1000), MARKS).tcp.lost == 700


def test_order_and_copies() -> None:
    """One that overtakes makes those behind it late; a second copy is a duplicate, whenever it comes."""
    plain = stream(20, 200)
    moved = [*plain[:10], plain[12], plain[10], plain[11], *plain[13:1500], plain[30], *plain[1500:]]
    found = seen(moved, stream(20, 50), sent(4000), MARKS)
    assert (found.udp.reordered, found.udp.duplicates, found.udp.lost) == (2, 1, 0)
    assert [one.number for one in late(moved)] == [10, 11]
    single = [one for one in plain if one.number not in (50, 52, 53)]
    assert [gap.count for gap in seen(single, stream(20, 50), sent(4000), MARKS).steps.gaps] == [1, 2]


def test_a_stream_that_did_not_flow_before_shows_nothing() -> None:
    """No figure comes of it."""
    with pytest.raises(CheckError, match="TCP did not flow"):
        seen(stream(20, 200), stream(20, 50, [(0, 6)]), sent(4000), MARKS)


def test_flowing_is_without_a_break_and_not_a_queue_that_empties() -> None:
    """What comes all at once after a silence was sent long ago."""
    whole = stream(10, 50)
    assert flows(whole, APART_S + 9.9)
    assert not flows(whole, APART_S + 10.7)
    assert not flows(stream(10, 50, [(8, 8.8)]), APART_S + 9.9)
    burst = [Arrival(one.number, one.sent_s, max(one.at_s, APART_S + 8)) for one in whole if one.sent_s > 3]
    assert not flows(burst, APART_S + 8 + FLOWS_S / 2)
    assert not flows([], APART_S)


def made(outcome: Outcome = Outcome.MEASURED, repetition: int = 1) -> Attempt:
    """An attempt with an outage."""
    found = seen(stream(20, 200, [(5, 9)]), stream(20, 50), sent(4000), MARKS)
    return Attempt(
        "nebula", "path-cut", repetition, "2026-01-01T00:00:00+00:00", outcome, "nebula-direct", "userspace",
        when=When.of(MARKS), seen=found if outcome is Outcome.MEASURED else None,
    )  # fmt: skip


def test_what_was_missing_may_be_there_now() -> None:
    """An attempt for which a program was missing is made again; what no solution can do is not."""
    there = replace(made(Outcome.IMPOSSIBLE), stage=UNAVAILABLE, reason="nebula is not installed")
    never = replace(made(Outcome.IMPOSSIBLE, 2), reason="it has no relay")
    assert finished([there, never]) == {never.key}


def test_a_study_survives_a_kill(tmp_path: Path) -> None:
    """Each attempt is a line; half of one is left out, what failed is made again, what was measured is not."""
    store = FallbackStore.new(tmp_path / "study", frozenset())
    store.begin()
    store.append(made())
    store.append(made(Outcome.FAILED, 2))
    path = tmp_path / "study" / "fallback.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"schema_version": 1, "solu')
    again = FallbackStore.open(tmp_path / "study", frozenset())
    assert again.attempts == [made(), made(Outcome.FAILED, 2)]
    assert path.read_bytes() == whole
    assert finished(again.attempts) == {("nebula", "path-cut", 1)}
    again.append(made(repetition=2))
    assert newest(again.attempts) == [made(), made(repetition=2)]
    with pytest.raises(InputError, match="is not empty"):
        FallbackStore.new(tmp_path / "study", frozenset())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 2}, "schema_version is 2"),
        ({"outcome": "fine"}, "outcome"),
        ({"repetition": "many"}, "repetition"),
    ],
)
def test_a_line_that_is_wrong_is_named(change: dict[str, object], words: str) -> None:
    """With its place."""
    text = json.dumps(line_of(made())) + "\n" + json.dumps(line_of(made()) | change) + "\n"
    with pytest.raises(InputError, match=f"here: line 2: .*{words}"):
        read_attempts(text, "here")


def test_every_event_can_be_made_and_has_its_place() -> None:
    """What is known in advance is said: a VPN without relay or control plane, an interface that carries management."""
    assert set(HAPPENINGS) == set(EVENTS)
    wireguard, nebula = solution_named("wireguard"), solution_named("nebula")
    for event in EVENTS.values():
        assert impossible(BED, nebula, scenario_of(BUILT_IN, "nebula", event), event) == ""
        assert [change.host for change in changes_of(BED, event)]
    why = {
        name: impossible(BED, wireguard, scenario_of(BUILT_IN, "wireguard", event), event)
        for name, event in EVENTS.items()
    }
    assert [name for name, one in why.items() if one] == ["relay-lost", "control-lost"]
    assert "no control plane" in why["control-lost"]


def test_the_address_that_a_client_moves_to_is_free() -> None:
    """The last of its VLAN; and a node that is logged in to by the same interface stays where it is."""
    client = BED.client
    address = free_address(BED, client)
    assert address is not None
    assert address.network == client.leg.address.network
    assert address.ip not in {leg.address.ip for node in BED.nodes for leg in node.legs}
    assert cannot_roam(client) == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--solutions", "native"], "unknown VPN 'native'"),
        (["--events", "path-cut,storm"], "unknown event 'storm'"),
        (["--events", ","], "names none"),
        (["--resume", "/nowhere/at/all"], "has no fallback.jsonl"),
        (["--resume", "a", "--out", "b"], "leave --out out"),
    ],
)
def test_bad_input_is_a_sentence(arguments: list[str], words: str) -> None:
    """With exit code 2."""
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert words in done.output


def test_a_plan_lists_every_attempt() -> None:
    """And the reason of what cannot be made, once."""
    done = CliRunner().invoke(main, ["--plan", "--solutions", "nebula,wireguard", "--repetitions", "2"])
    assert done.exit_code == 0
    assert done.output.count("impossible: ") == 2
    assert "18 attempts" in done.output


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"udp_sent": -1}', "cut off"])
def test_a_sender_that_says_nothing_is_no_figure(text: str) -> None:
    """Said, not guessed."""
    with pytest.raises(ToolError):
        streams.sent(text)


def test_lines_that_are_cut_off_are_left_out() -> None:
    """Whatever else a node says."""
    found = streams.arrivals("ready\nu 1 1000000 2000000\nt 1 1 x\nc 0 0 5\nnoise\nu 2 1")
    assert found == {"u": (Arrival(1, 1.0, 2.0),), "t": (), "c": (Arrival(0, 0.0, 5e-06),)}


@pytest.mark.slow
def test_the_program_over_loopback() -> None:
    """All of both streams arrives, in order, and the sender ends at TERM with its counts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    begin = (sys.executable, "-I", "-u", "-c", streams.PROGRAM)
    receiver = subprocess.Popen((*begin, "receive", port, "60"), stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    sender = subprocess.Popen(
        (*begin, "send", "127.0.0.1", port, "60", "200", "50"), stdout=subprocess.PIPE, text=True
    )
    with pytest.raises(subprocess.TimeoutExpired):
        sender.wait(timeout=2)
    # as timeout(1) does to its group and to its child
    sender.terminate()
    sender.terminate()
    said = streams.sent(sender.communicate(timeout=60)[0])
    with pytest.raises(subprocess.TimeoutExpired):
        receiver.wait(timeout=0.5)
    receiver.terminate()
    came = streams.arrivals("ready\n" + receiver.communicate(timeout=60)[0])
    assert [one.number for one in came["u"]] == list(range(said.udp_sent))
    assert [one.number for one in came["t"]] == list(range(said.tcp_written))
    assert said.udp_sent > 100
    assert said.tcp_written > 20
    assert (said.tcp_connections, len(came["c"]), said.udp_refused) == (1, 1, 0)
    assert all(one.at_s >= one.sent_s for one in (*came["u"], *came["t"]))
