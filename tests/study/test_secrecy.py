"""Whether a marker was read outside of the overlay, and when a trial proves nothing."""

import json
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from vpnmesh.errors import CheckError, ToolError
from vpnmesh.model import Testbed
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.study.secrecy import MarkerTrial, Tap, check_secrecy, read_outside, taps
from vpnmesh.tools import marker, programs
from vpnmesh.tools.marker import Heard, Sent

DIRECT, RELAYED = scenario_named("nebula-direct"), scenario_named("nebula-relay")
SENT = Sent(1000, 1000, 1000)
LOUD, MARKED = Heard(50, 2500, 0, 0), Heard(50, 2500, 20, 0)


def trial(bed: Testbed, **changes: Heard) -> MarkerTrial:
    """Read inside, not read outside, enough heard everywhere; but for the nodes named, outside."""
    every = taps(bed, "vxlan.calico")
    heard = {tap: MARKED if tap.inside else changes.get(tap.node, LOUD) for tap in every}
    return MarkerTrial(SENT, heard)


def test_an_overlay_that_encrypts_is_read_nowhere(bed: Testbed) -> None:
    """On either path; five taps: both ends in and out, and the relay."""
    assert len(trial(bed).heard) == 5
    for scenario in (DIRECT, RELAYED):
        assert read_outside(scenario, bed, trial(bed)) == ()
        check_secrecy(scenario, bed, trial(bed))


@pytest.mark.parametrize("node", ["worker1", "worker2", "relay"])
def test_one_frame_with_the_marker_is_enough(node: str, bed: Testbed) -> None:
    """Wherever it was outside; the sentence names node, interface and how many frames."""
    read = trial(bed, **{node: replace(LOUD, marked=1)})
    assert [tap.node for tap in read_outside(RELAYED, bed, read)] == [node]
    interface = bed.node(node).leg.interface
    with pytest.raises(CheckError, match=rf"nebula-relay: .* can be read at {node} {interface} \(1 frames\)"):
        check_secrecy(RELAYED, bed, read)


def test_a_relay_that_decrypts_is_read_in_its_tunnel(bed: Testbed) -> None:
    """What passes the VPN's own interface there has no need to: silence is what an honest relay shows."""
    assert [str(tap) for tap in taps(bed, "vxlan.calico", ("vmvpn0",)) if tap.tunnel] == ["relay vmvpn0"]
    tunnel = Tap("relay", "vmvpn0", tunnel=True)
    idle = MarkerTrial(SENT, {**trial(bed).heard, tunnel: Heard(0, 0, 0, 0)})
    assert read_outside(RELAYED, bed, idle) == ()
    read = MarkerTrial(SENT, {**trial(bed).heard, tunnel: MARKED})
    assert read_outside(RELAYED, bed, read) == (tunnel,)


def test_silence_proves_nothing(bed: Testbed) -> None:
    """An end that heard less than came through; a relay only where the path leads over it."""
    quiet = Heard(3, 200, 0, 0)
    with pytest.raises(CheckError, match=r"worker2 \S+: 200 bytes were heard, and 2000 came through"):
        read_outside(DIRECT, bed, trial(bed, worker2=quiet))
    assert read_outside(DIRECT, bed, trial(bed, relay=quiet)) == ()
    with pytest.raises(CheckError, match=r"relay \S+: 200 bytes"):
        read_outside(RELAYED, bed, trial(bed, relay=quiet))
    with pytest.raises(CheckError, match=r"relay \S+: 99 frames came too fast"):
        read_outside(RELAYED, bed, trial(bed, relay=replace(LOUD, dropped=99)))


def test_a_listener_that_is_deaf_inside_proves_nothing(bed: Testbed) -> None:
    """The same program must read the marker where it can be read."""
    deaf = trial(bed)
    inside = Tap("worker1", "vxlan.calico", inside=True)
    with pytest.raises(CheckError, match=r"worker1 vxlan.calico: the marker was not even read inside"):
        read_outside(DIRECT, bed, MarkerTrial(SENT, {**deaf.heard, inside: LOUD}))


@pytest.mark.parametrize(("sent", "by"), [(Sent(1000, 499, 1000), "UDP"), (Sent(1000, 1000, 0), "TCP")])
def test_a_marker_that_did_not_arrive_proves_nothing(sent: Sent, by: str, bed: Testbed) -> None:
    """By either protocol."""
    with pytest.raises(CheckError, match=rf"of 1000 bytes by {by} came back \d+"):
        read_outside(DIRECT, bed, MarkerTrial(sent, trial(bed).heard))


@pytest.mark.parametrize(
    "text", ["", "ready", "failed: Operation not permitted", '{"eth0": {"packets": "x"}}', "[]"]
)
def test_words_that_are_no_counts_are_said(text: str) -> None:
    """A program that failed is named with what it said."""
    for read in (marker.heard, marker.sent):
        with pytest.raises(ToolError, match="no counts from the"):
            read(text)


def test_the_program_sends_answers_and_counts() -> None:
    """Real sockets on this machine: all that is sent comes back, and who answers saw the marker in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    argv = (sys.executable, "-I", "-u", "-c", marker.PROGRAM)
    with subprocess.Popen(
        (*argv, "answer", "mark", "60", port), stdout=subprocess.PIPE, text=True
    ) as answering:
        assert answering.stdout is not None
        assert answering.stdout.readline() == f"{programs.READY}\n"
        done = subprocess.run(
            (*argv, "send", "mark", "60", "127.0.0.1", port, "5"), capture_output=True, text=True, check=True
        )
        sent = marker.sent(done.stdout)
        answering.send_signal(signal.SIGTERM)
        came = json.loads(answering.stdout.read())
    assert sent == Sent(5 * 512, 5 * 512, 5 * 512)
    assert came == {"udp": 5 * 512, "tcp": 5 * 512}


def test_a_program_that_cannot_do_its_part_says_why() -> None:
    """An interface that is not there, a port where nobody answers: one line, and no traceback."""
    argv = (sys.executable, "-I", "-u", "-c", marker.PROGRAM)
    for role in (("listen", "mark", "5", "nowhere0"), ("send", "mark", "5", "127.0.0.1", "1", "1")):
        done = subprocess.run((*argv, *role), capture_output=True, text=True, check=True)
        assert done.stdout.startswith(programs.FAILED)
        assert done.stderr == ""
