"""Reading k8s-bench-suite: whole, with empty readings, cut off, of another tool."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.errors import InputError, ToolError
from vpnmesh.frames.imports import import_knb
from vpnmesh.frames.names import PublishedFile, scenario_of
from vpnmesh.tools import knb

CAPTURED = Path(__file__).parents[1] / "captured" / "knb"
NAME = "01-x-60s-p2ptcp-loss0p-delay0.json"


def captured(case: str) -> tuple[PublishedFile, str]:
    path = next((CAPTURED / case).glob("*.json"))
    return PublishedFile(f"11-example/{path.name}", "example", str(path)), path.read_text()


def record(
    rate: object = 700, *, test: str = "tcp", name: str = "knb-1", ram: object = 600
) -> dict[str, object]:
    load = {"cpu": {"total": 9.5, "user": 1.5, "system": 8.0}, "ram": ram}
    section = {"bandwidth": rate, "client": load, "server": load}
    return {
        "metadata": {"name": name, "date": "2024-01-01 00:00:00", "client-node": "a", "server-node": "b"},
        "data": {"mtu": "1230", "pod2pod": {test: section}},
    }


def one(rate: object) -> knb.Repetition:
    return knb.parse(json.dumps([record(rate)])).repetitions[0]


def test_whole_record() -> None:
    """A whole record is measured, with the tool's figures as they are."""
    found = one(700)
    assert (found.problem, found.rate_mbit_s, found.pair) == (None, 700.0, "a>b")
    assert knb.Load(9.5, 1.5, 8.0, 600.0) == found.client


def test_empty_readings_are_repaired_and_failed() -> None:
    """The tool's empty values are read as missing: those repetitions fail with the reason, the others count."""
    found = import_knb([captured("readings-missing-synthetic")])
    rows = found.samples.select("repetition", "outcome", "reason", "rate_mbit_s").rows()
    assert rows == [
        (1, "measured", None, 612.0),
        (2, "failed", "no reading of client CPU, client RAM", 610.0),
        (3, "failed", "bandwidth is missing", None),
    ]
    assert any("repaired: 3 repetitions read" in note for note in found.notes)


def test_cut_off_file_keeps_what_is_whole() -> None:
    """Of a file cut in its second record the first is measured, and the second is an attempt that failed."""
    found = import_knb([captured("cut-off-synthetic")])
    assert found.samples.select("outcome", "reason").rows() == [
        ("measured", None),
        ("failed", "record 2 is cut off"),
    ]
    assert {"delay-250ms"} == set(found.samples["condition"])


def test_another_tool_is_named() -> None:
    """JSON of another tool is one failed attempt that says what was found."""
    found = import_knb([captured("iperf3-synthetic")])
    assert found.samples["reason"].to_list() == [
        "not a k8s-bench-suite result (found: end, intervals, start)"
    ]


@pytest.mark.parametrize("text", ["", "  ", "no json at all", "[]", "[1, 2]", "{}", "null", '"x"'])
def test_nothing_of_ours(text: str) -> None:
    """Whatever is not knb's is a ToolError with a reason, never a traceback of another kind."""
    with pytest.raises(ToolError, match="knb: "):
        knb.parse(text)


@given(st.text(alphabet='{}[]":, \n0123456789ametadt-', max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text brings the reader down otherwise."""
    with contextlib.suppress(ToolError):
        assert knb.parse('[{"metadata": ' + text).repetitions is not None


@pytest.mark.parametrize(
    ("value", "rate", "problem"),
    [
        (0, 0.0, "bandwidth is 0"),
        (-1, None, "bandwidth is missing"),
        (None, None, "bandwidth is missing"),
        (float("nan"), None, "bandwidth 'nan' is no figure in Mbit/s"),
        (float("inf"), None, "bandwidth 'inf' is no figure in Mbit/s"),
        (True, None, "bandwidth 'True' is no figure in Mbit/s"),
        ("fast", None, "bandwidth 'fast' is no figure in Mbit/s"),
        ("715", 715.0, None),
        ("715 Mbits/sec", 715.0, None),
        ("0.7 Gbits/sec", 700.0, None),
        ("250 Kbit/s", 0.25, None),
        ("9e8 bits/sec", 900.0, None),
    ],
)
def test_bandwidths(value: object, rate: float | None, problem: str | None) -> None:
    """A bandwidth is Mbit/s, a text with its unit is converted, anything else fails with its own words."""
    found = one(value)
    assert problem == found.problem
    assert rate == (pytest.approx(found.rate_mbit_s) if found.rate_mbit_s is not None else None)


def test_a_promised_section_that_is_missing_failed() -> None:
    """A record in a p2pudp file that has no UDP section is an attempt that failed."""
    text = json.dumps([record()])
    found = knb.parse(text, "udp").repetitions
    assert sorted(rep.test for rep in found) == ["tcp", "udp"]
    assert [rep.problem for rep in found if rep.test == "udp"] == ["no udp section"]


def test_twice_the_same_repetition_counts_once() -> None:
    """A repetition in two files (same name, same start) is one, and said to be."""
    files = [(PublishedFile(f"11-x/{i}-{NAME}", "x", ""), json.dumps([record()])) for i in range(2)]
    found = import_knb(files)
    assert found.samples.height == 1
    assert found.notes == ("x none tcp: 1 repetitions were there twice, counted once",)


def test_mixed_units_are_pointed_at() -> None:
    """Figures in bit/s among figures in Mbit/s are kept and warned about."""
    rates = [700, 705, 710, 700_000_000]
    text = json.dumps([record(rate, name=f"knb-{i}") for i, rate in enumerate(rates)])
    found = import_knb([(PublishedFile(f"11-x/{NAME}", "x", ""), text)])
    assert found.samples.filter(outcome="measured").height == 4
    assert [note.rpartition(" They")[0] for note in found.notes] == [
        "x none tcp: 1 of 4 rates differ from the median by more than a factor of 100: mixed units?"
    ]


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("01-n-60s-all-loss0p-delay0.json", "none"),
        ("01-n-60s-all-loss10p-delay0.json", "loss-10pct"),
        ("01-n-60s-all-loss0p-delay250ms.json", "delay-250ms"),
        ("01-n-60s-all-loss1p-delay50ms.json", "delay-50ms+loss-1pct"),
        ("01-n-60s-all-loss0p-delay1s.json", "delay-1000ms"),
        ("01-n-60s-all-loss0.5p-delay0.json", "loss-0.5pct"),
    ],
)
def test_condition_from_the_name(name: str, condition: str) -> None:
    """Loss and delay are in the file's name."""
    found = knb.condition_of(name)
    assert found is not None
    assert condition == found.name


def test_names_without_or_with_impossible_conditions() -> None:
    """A name that states no condition has none; 150 % loss is refused, and the file left out with a word."""
    assert knb.condition_of("results.json") is None
    with pytest.raises(InputError, match="loss 150"):
        knb.condition_of("x-loss150p-delay0.json")
    found = import_knb([(PublishedFile("1-x/x-loss150p-delay0.json", "x", ""), json.dumps([record()]))])
    assert (found.samples.height, "left out" in found.notes[0]) == (0, True)


@pytest.mark.parametrize(
    ("folder", "scenario"),
    [
        ("11-native-mtu1230", "native-1230"),
        ("12-native-mtu1450", "native-1450"),
        ("21-headscale-direct", "headscale-direct"),
        ("42-zerotier-relay", "zerotier-relay"),
        ("netbird-relay-tcp", "netbird-relay-tcp"),
        ("02-native-mtu1450-k8s-api-bench", "native-1450"),
        ("03-headscale-k8s-api-bench", "headscale-direct"),
        ("04-headscale-relay-k8s-api-bench", "headscale-relay"),
        ("07-zerotier-k8s-api-bench", "zerotier-direct"),
    ],
)
def test_scenarios_from_folders(folder: str, scenario: str) -> None:
    """Folders of throughput and of API results name the same scenarios."""
    assert scenario == scenario_of(folder)
