"""What fuzzing found, each as the smallest input that was not refused, or ended in a traceback, or gave a figure."""

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.fuzz import documents, runs
from tests.fuzz.target import Case, Target, look
from tests.fuzz.targets import TARGETS
from vpnmesh.errors import MOST_SAID, InputError, ToolError, VpnmeshError, printable
from vpnmesh.frames.schemas import check_results
from vpnmesh.measurements.protocol import json_of
from vpnmesh.plan import Command, Completed, Fact
from vpnmesh.report.page import Page, Paragraph, Section
from vpnmesh.report.render import render_markdown
from vpnmesh.study.journal import RepetitionEnded, parse_event
from vpnmesh.tools import iperf3, knb, ping, vpn_bench
from vpnmesh.tools.iperf3_series import series_of, unbroken
from workflows.reporting.presenting import harmless
from workflows.reporting.run_requests import requests_of_run
from workflows.reporting.studies import read_table
from workflows.run.store import Store, StoreError

BY_NAME: dict[str, Target[Any]] = {one.name: one for one in TARGETS}
DEEP = "[" * 20_000
HUGE = "1" + "0" * 400
LONG = "x" * 5000


def sums(**received: object) -> str:
    """iperf3's JSON with these figures of the receiver."""
    good = {"bytes": 1e6, "bits_per_second": 8e6}
    return json.dumps({"end": {"sum_received": {**good, **received}, "sum_sent": good}})


@pytest.mark.parametrize("rate", [-8e6, 0, True, None, "8e6", [8e6], 10**400, float("inf")])
def test_iperf3_has_no_rate_that_is_none(rate: object) -> None:
    """Below zero and true passed for Mbit/s; a number too large for a float was a traceback."""
    with pytest.raises(ToolError):
        iperf3.parse(sums(bits_per_second=rate), "tcp")
    assert iperf3.parse(sums(), "tcp").get("rate_mbit_s") == 8.0


@pytest.mark.parametrize("sent", ["1e999", HUGE, "-1", "true", "null"])
def test_a_sender_has_no_interval_that_is_none(sent: str) -> None:
    """Infinite bytes were sent."""
    interval = f'{{"start": 0, "end": 1, "bytes": {sent}}}'
    text = f'{{"intervals": [{{"sum": {interval}}}], "end": {{"streams": []}}}}'
    with pytest.raises(ToolError, match="an interval of the report is none"):
        iperf3.sender_of(text)


LINE = "[  5]   {}-{}   sec  11.0 MBytes  {} Kbits/sec\n"


def test_a_series_has_every_interval_once() -> None:
    """An interval that was there twice, or lost, was averaged as if nothing had happened."""
    lines = [LINE.format(f"{n}.00", f"{n + 1}.00", 9000) for n in range(3)]
    assert len(unbroken(series_of("".join(lines)))) == 3
    for wrong in ((0, 1, 1, 2), (0, 2), (1, 0, 2)):
        with pytest.raises(ToolError, match="are not one after another"):
            unbroken(series_of("".join(lines[n] for n in wrong)))


def test_a_series_has_no_rate_that_is_none() -> None:
    """A rate of 400 digits was infinite; more datagrams were lost than sent."""
    assert not series_of(LINE.format("0.00", "1.00", HUGE))
    udp = "[  5]   0.00-1.00   sec  11.0 MBytes  9000 Kbits/sec  0.012 ms  {}/86 (0%)\n"
    assert len(series_of(udp.format(86))) == 1
    assert not series_of(udp.format(87))


@pytest.mark.parametrize(
    ("counts", "times"),
    [
        ("1 packets transmitted, 5 received", "1/1/1/0"),
        ("5 packets transmitted, 5 received", "1/9/3/0"),
        ("5 packets transmitted, 5 received", "25/8/30/0"),
        ("5 packets transmitted, 5 received", "1/2/3/" + HUGE),
        ("5 packets transmitted, 5 received", "1.1.1/2/3/0"),
    ],
)
def test_ping_counts_and_times_that_cannot_be(counts: str, times: str) -> None:
    """More answers than questions were a loss of -400 %; a mean lay outside of its own least and greatest."""
    with pytest.raises(ToolError):
        ping.parse(f"{counts}, 0% packet loss\nrtt min/avg/max/mdev = {times} ms\n")


@pytest.mark.parametrize("text", [DEEP, f'{{"metadata": {DEEP}', f"[{'1' * 5000}]"])
def test_json_that_is_too_deep_or_too_long_is_none(text: str) -> None:
    """Python has errors of its own for both; knb's reader, the sender's and kept files let them through."""
    for read in (
        knb.parse,
        vpn_bench.parse,
        iperf3.sender_of,
        lambda one: json_of({"a.json": one}, "a.json"),
    ):
        with pytest.raises(ToolError):
            read(text)


WORDLESS = {"match": {"left": {}, "op": 1, "right": 1}}
SMALL: list[tuple[str, object]] = [
    ("vpn-bench", json.dumps({"data": 1, LONG: 2})),
    ("switch", {"": "arista_eos", "shown": "switchport access vlan 5536"}),
    ("switch", {"": "linux_bridge", "shown": '[{"vlans":[{"vlan":1e8,"flags":["PVID"]}]}]'}),
    ("kubernetes", {"0": '{"items": [{"metadata": {"name": 7}}]}'}),
    ("nft list", {"0": '{"nftables": [{"rule": {"chain": "verdicts"}}]}'}),
    ("pods held", {"0": '[{"ifname": "vxlan.calico"}, 7]'}),
    ("nft list", {"0": json.dumps({"nftables": [{"rule": {"chain": "verdicts", "expr": [WORDLESS]}}]})}),
    ("k8s-netperf json", '[{"profile": "UDP_STREAM", "throughput": 1, "udpLossPercent": 1024}]'),
    ("pod MTU", {"0": '[{"mtu": "x"}]'}),
    ("pod MTU", {"0": '[{"mtu": "1_0"}]'}),
    ("calico status", {"0": '{"items": [{}]}'}),
    ("pfSense PHP", {"answer": DEEP}),
    ("pfSense PHP", {"answer": '{"sections": {}}'}),
    ("pfSense PHP", {"answer": '{"sections": ""}'}),
    ("tailscale status", {"": "headscale-direct", "status": DEEP}),
    ("zerotier peers", {"": "zerotier-direct", "peers": DEEP}),
    ("nebula hostmap", {"": "nebula-direct", "hostmap": DEEP}),
    ("measurement convergence", {"": "nebula-relay", "join.json": '{"join_s": -0.5}'}),
    (
        "measurement convergence",
        {"": "nebula-relay", "steady-worker1.json": '[{"at_s": 1' + "0" * 400 + "}]"},
    ),
    ("iperf3 udp", '{"error": "\\t"}'),
    ("gate", b"margin_pct: false\n"),
    ("gate", b"margin_pct: 0\n"),
    ("claims", b"a: {section: x, sentence: x, check: " + LONG.encode() + b"}\n"),
    ("scenario file", b"a: !!timestamp\n"),
    ("scenario file", b"a: {variant_of: " + LONG.encode() + b"}\n"),
    ("inventory", {**documents.inventories()[0], "defaults": b"data: {since: !!timestamp }\n"}),
    ("journal", runs.journal().replace(b"900", b"-900")),
    ("journal", b'{"schema_version": 2, "type": "visit", "scenario": "\\ud800"}\n'),
    ("journal", runs.journal().replace(b"headscale-direct", b"headscale\xed\xa0\x80")),
    ("command line", ("workers", "scheduler", "--plain-on-loopback")),
    ("command line", ("workers", "init", "/dev/null")),
    ("command line", ("lab", "inventory", "--nodes", "12", "--to", "\ufeff")),
    (
        "study of a run",
        {
            "journal.jsonl": runs.journal().replace(b'"raw/', b'"' + LONG.encode() + b"/"),
            "manifest.json": runs.manifest(),
        },
    ),
    ("command line", ("report", "x" * 300)),
    ("command line", ("inventory", "export", "lab", "\udcff")),
    ("journal", runs.journal().replace(b'"visit": 1', b'"visit": 1' + b"0" * 400)),
    ("journal", runs.journal().replace(b'"headscale-direct"', b'"' + LONG.encode() + b'"')),
    ("manifest", runs.manifest().replace(b'"seed": 7', b'"seed": true')),
    ("command line", ("matrix", "--plan", "--resume", "x" * 300)),
    ("words on a terminal", ("\x1b[31m", "[/red]")),
    ("words on a terminal", ("\x9b31m\u202e",)),
    ("words in a page", ("<xevil>",)),
    ("words in a page", ("$x$ \\frac{xevil$",)),
]


@pytest.mark.parametrize(("name", "value"), SMALL, ids=[f"{n}-{name}" for n, (name, _) in enumerate(SMALL)])
def test_small_inputs_that_ended_badly(name: str, value: object) -> None:
    """Each was a traceback, a value that nothing can have, or a sentence of thousands of characters."""
    target = BY_NAME[name]
    assert look(target, Case(target.seeds()[0], value), 0) is None


def line(**more: object) -> dict[str, object]:
    """A repetition's line of a journal."""
    kept = {
        "schema_version": 2,
        "type": "repetition",
        "scenario": "native-1450",
        "condition": "none",
        "test": "tcp",
    }
    return {
        **kept,
        "pair": "worker1>worker2",
        "repetition": 1,
        "outcome": "measured",
        "rate_mbit_s": 5.0,
        **more,
    }


def test_a_journal_has_no_figure_that_nothing_can_have() -> None:
    """Below zero, none at all that counts as measured, more than all lost, and a failure with a figure."""
    assert isinstance(parse_event(line()), RepetitionEnded)
    for wrong in ({"rate_mbit_s": -5.0}, {"rate_mbit_s": 0.0}, {"lost_pct": 101.0}, {"outcome": "failed"}):
        with pytest.raises(InputError, match=r"journal\.jsonl: (rate_mbit_s|lost_pct): line 1:"):
            parse_event(line(**wrong))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("rate_mbit_s", float("nan")),
        ("rate_mbit_s", float("inf")),
        ("rate_mbit_s", -1.0),
        ("rate_mbit_s", 0.0),
        ("client_cpu_pct", float("inf")),
        ("scenario", None),
        ("repetition", None),
        ("outcome", "perhaps"),
    ],
)
def test_a_table_has_no_value_that_nothing_can_have(column: str, value: object) -> None:
    """`results.parquet` without a journal was believed whatever it held."""
    table = pl.read_parquet(io.BytesIO(runs.table())).filter(outcome="measured")
    assert check_results(table, "x.parquet").equals(table)
    wrong = table.with_columns(pl.lit(value, dtype=table.schema[column]).alias(column))
    with pytest.raises(InputError, match=f"x.parquet: column {column}"):
        check_results(wrong, "x.parquet")


def test_a_panic_of_polars_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two of 1,500 tables with some bytes changed ended in a panic of Rust, which is no Exception."""

    def panic(*_arguments: object, **_options: object) -> None:
        import os  # noqa: PLC0415

        os.write(2, b"thread panicked\n")
        raise pl.exceptions.PanicException("offset + length <= self.length")

    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(InputError, match="is no parquet file, or a part of one"):
        read_table(tmp_path / "results.parquet")
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a/../../../x"])
def test_raw_files_stay_in_the_run(name: str, tmp_path: Path) -> None:
    """A measurement of somebody's own package names the files that it keeps."""
    store = Store.create(tmp_path / "run")
    with pytest.raises(StoreError, match="leads out of the run's directory"):
        store.keep_raw(name, "text")
    assert store.keep_raw("a/x.txt", "text") == "raw/a/x.txt"


def test_requests_are_read_from_the_run_alone(tmp_path: Path) -> None:
    """A journal's `raw` led to a file outside of the run."""
    for folder in ("outside", "run/raw/inside"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "requests.csv").write_text("x\n")
    for raw, lost in (("../outside", 1), ("raw/inside", 0)):
        event = parse_event(line(test="api", raw=raw))
        assert len(requests_of_run(tmp_path / "run", [event])[1]) == lost


def test_a_spreadsheet_calculates_nothing() -> None:
    """A text that begins as a formula gets an apostrophe; numbers, and other texts, stay."""
    table = pl.DataFrame(
        {"a": ["=1+1", "@x", "-1", "+1", "native-1450", None], "b": [-1.0] * 6, "c": ["x"] * 6}
    )
    wanted = ["'=1+1", "'@x", "'-1", "'+1", "native-1450", None]
    assert harmless(table).equals(table.with_columns(pl.Series("a", wanted)))


def test_markdown_holds_no_tag_of_the_data() -> None:
    """Markdown takes HTML as it is; a sign before a number is none."""
    page = Page("t", "", (Section("s", "s", (Paragraph("<b>x</b> p < 0.05 <!-- y"),)),))
    assert "&lt;b>x&lt;/b> p < 0.05 &lt;!-- y" in render_markdown(page)


def test_errors_are_one_line_that_only_prints() -> None:
    """Names and words of tools could colour the terminal, move its cursor, or fill its screen."""
    said = str(InputError("a\x1b[31m", "is\nno \u202ename \ud800"))
    assert said == "a\\x1b[31m: is no \\u202ename \\ud800"
    assert len(str(VpnmeshError(LONG))) == MOST_SAID + len("...")
    assert (
        printable("plain \N{LATIN SMALL LETTER E WITH ACUTE}") == "plain \N{LATIN SMALL LETTER E WITH ACUTE}"
    )


@pytest.mark.parametrize(
    "error", [KeyError("x"), IndexError(), RecursionError(), OverflowError(), AttributeError("x")]
)
def test_what_a_node_says_in_another_shape_names_the_program(error: Exception) -> None:
    """A fact that takes a shape for granted is a ToolError, and no traceback in the middle of a run."""

    def parse(_completed: object) -> None:
        raise error

    with pytest.raises(ToolError, match=r"^ip: what it printed cannot be read"):
        Fact((Command(("ip", "link")),), parse).read([Completed((), 0, "", "")])


SAMPLE = "@sample {}\ncpu {}\ntx 1\nMemTotal: 9 kB\nMemAvailable: 5 kB\n1 (a) S 0 {}\n@end\n"
PROCESS = "9 9 9 0 -1 4 83 0 0 0 {} 0 0 0 20 0 1 80 9 {} 9 9"
EIGHT = "1 2 3 4 5 6 7 8"
GOOD_PROCESS = PROCESS.format(0, 9)


@pytest.mark.parametrize(
    "wrong",
    [
        ("nan", EIGHT, GOOD_PROCESS),
        ("1.5", "1 2 3 4 5 6", GOOD_PROCESS),
        ("1.5", "1 2 3 4 5 6 7 inf", GOOD_PROCESS),
        ("1.5", "1 2 3 4 5 6 7 1e308", GOOD_PROCESS),
        ("1.5", EIGHT, PROCESS.format(0, "nan")),
        ("1.5", EIGHT, PROCESS.format("1e308", 9)),
    ],
)
def test_a_load_has_no_sample_that_is_none(wrong: tuple[str, str, str]) -> None:
    """What no kernel writes, and a line of /proc/stat that was cut, were figures or a traceback."""
    first, last = (SAMPLE.format(at, EIGHT, GOOD_PROCESS) for at in (1, 2))
    parse = BY_NAME["load"].call
    assert parse(first + SAMPLE.format("1.5", EIGHT, GOOD_PROCESS) + last).samples == 3
    assert parse(first + SAMPLE.format(*wrong) + last).samples == 2


def test_netbox_answers_that_no_netbox_gives() -> None:
    """Lists for ids, addresses that are none, answers without a count, nested too deep: each was a traceback."""
    target = BY_NAME["NetBox answers"]
    good = target.seeds()[0]
    assert len(target.call(good).nodes) == 6
    rows = good["ipam/prefixes"]
    for path, wrong in (
        ("dcim/devices", '{"count": 1, "results": [{"id": [1]}]}'),
        ("dcim/devices", '{"results": []}'),
        ("dcim/devices", DEEP),
        ("dcim/devices", good["dcim/devices"].replace('"count": 6', '"count": 18446744073709551616')),
        ("ipam/prefixes", rows.replace("192.88.99.0/29", "18446744073709551616.88.99.0/29")),
        ("dcim/devices", good["dcim/devices"].replace('"slug": "lab"', '"slug": "--"')),
        (
            "dcim/devices",
            good["dcim/devices"].replace('"vpnmesh_cores": 4', '"vpnmesh_cores": 1' + "0" * 400),
        ),
        ("ipam/ip-addresses", good["ipam/ip-addresses"].replace("192.88.99.10/29", "{name}")),
    ):
        with pytest.raises(InputError):
            target.call({**good, path: wrong})
