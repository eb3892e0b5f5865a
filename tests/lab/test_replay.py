"""Measured paths become delay lines: what a twin lacks of a round trip, half of it each way; alike paths share one."""

import math
from itertools import combinations

import pytest

from inventory.load import BUILT_IN
from vpnmesh.doctor.paths import PathRound, RecordedPath, RecordedPaths, ends_of, parse_paths
from vpnmesh.errors import InputError
from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.lab.replay import Ends, delay_lines, plan_replay, restore_text, start_command

BED = read_testbed(BUILT_IN / "lab")


def paths_of(times_ms: dict[Ends, float], lost: int = 0) -> RecordedPaths:
    paths = tuple(
        RecordedPath(one, other, tuple(PathRound(25, 25 - (lost if n == 0 else 0), ms, ms) for n in range(8)))
        for (one, other), ms in times_ms.items()
    )
    return RecordedPaths(1, "mine", "2026-01-01T00:00:00+00:00", "real", paths)


def own_ms(ms: float = 0.05) -> dict[Ends, float]:
    return dict.fromkeys(((a, b) for one in combinations(ends_of(BED), 2) for a, b in (one, one[::-1])), ms)


def test_the_twin_gets_what_it_lacks_and_half_of_it_each_way() -> None:
    """Own round trip and the engine's cost are taken off."""
    (path,) = plan_replay(paths_of({("worker1", "relay"): 20.2}), BED, own_ms(), "FILE")
    assert path.delay_ms == 20
    assert path.one_way.delay_ms == 10


def test_the_loss_there_and_back_is_the_recorded_one() -> None:
    """200 pings, 20 of them lost."""
    (path,) = plan_replay(paths_of({("worker1", "relay"): 5}, lost=20), BED, own_ms(), "FILE")
    passed = 1 - path.one_way.loss_pct / 100
    assert math.isclose(passed**2, 0.9, abs_tol=1e-5)


def test_a_path_that_the_twin_is_slow_for_already_gets_nothing() -> None:
    """No line, and no rule, where nothing is to be delayed or lost."""
    paths = plan_replay(paths_of({("worker1", "relay"): 0.2}), BED, own_ms(0.1), "FILE")
    assert delay_lines(paths) == ()


def test_paths_that_are_alike_share_a_line() -> None:
    """A line per condition, with a rule for each direction of each path."""
    times = {("worker1", "relay"): 10.0, ("worker2", "relay"): 10.0, ("worker1", "worker2"): 3.0}
    lines = delay_lines(plan_replay(paths_of(times), BED, own_ms(), "FILE"))
    assert [len(line.directions) for line in lines] == [4, 2]
    assert len({line.queue for line in lines}) == 2
    text = restore_text(lines, BED)
    assert text.count("-A PREROUTING") == 6
    rule = "-A PREROUTING -i vlan20 -s 192.88.99.8/29 -d 192.88.99.24/29 -m comment --comment vpnmesh-twin"
    assert f"{rule} -j NFQUEUE --queue-num {lines[0].queue}\n" in text
    assert text.startswith("*raw\n")
    assert text.endswith("COMMIT\n")
    words = start_command(lines[0], "/x", "/run/lab/twin")
    assert words[words.index("--delay-ms") + 1] == "4.9"


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (
            ("worker1", "nobody"),
            "FILE: no node nobody between whose peers a path could be; known are: k8s-master",
        ),
        (("worker1", "firewall"), "no node firewall"),
    ],
)
def test_paths_of_another_testbed_are_refused(ends: Ends, said: str) -> None:
    """By the name that is not there; the firewall is on every path and at the end of none."""
    with pytest.raises(InputError, match=said):
        plan_replay(paths_of({ends: 5.0}), BED, own_ms(), "FILE")


def test_a_path_that_never_answered_is_refused() -> None:
    """A twin cannot lose everything between two nodes and still be one."""
    silent = RecordedPath("worker1", "relay", (PathRound(25, 0, None, None),))
    found = RecordedPaths(1, "mine", "", "real", (silent,))
    with pytest.raises(InputError, match="nothing ever came back between worker1 and relay"):
        plan_replay(found, BED, own_ms(), "FILE")


def test_the_file_is_read_as_it_was_written() -> None:
    """Every figure, and the typical ones of it."""
    found = paths_of({("worker1", "relay"): 5.0}, lost=2)
    again = parse_paths(found.to_json(), "FILE")
    assert again == found
    assert (again.paths[0].rtt_ms, again.paths[0].loss_pct, again.paths[0].sent) == (5.0, 1.0, 200)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"received":25', b'"received":26', "26 answers to 25 pings"),
        (b'"rtt_avg_ms":5.0', b'"rtt_avg_ms":-5.0', "a time is not in 0 to"),
        (b'"rtt_avg_ms":5.0', b'"rtt_avg_ms":null', "times without answers"),
        (b'"schema_version":1', b'"schema_version":9', "schema_version 9 is not 1"),
        (b'"relay"', b'"[red]"', "is no name"),
        (b'"relay"', b'"worker1"', "leads from a node to itself"),
        (b"{", b"[", "FILE: the file: Invalid JSON"),
    ],
)
def test_a_wrong_file_is_a_sentence(old: bytes, new: bytes, said: str) -> None:
    """With the way out: record it again."""
    text = paths_of({("worker1", "relay"): 5.0}).to_json().replace(b": ", b":")
    assert old in text
    with pytest.raises(InputError, match=said) as error:
        parse_paths(text.replace(old, new), "FILE")
    assert "--record-paths" in str(error.value)
