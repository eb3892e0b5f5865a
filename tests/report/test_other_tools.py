"""vpn-bench's and k8s-netperf's results: figures, failures with their reasons, and what is left out.

The documents are synthetic, in the format of vpn-bench's published JSON (18.12.2025) and of k8s-netperf's `--json` and
`result-*.csv`; all figures are made up but for the rows of k8s-netperf's own documentation.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnmesh.errors import InputError, ToolError
from vpnmesh.report.setting import meaning
from vpnmesh.report.style import condition_title
from vpnmesh.tools import k8s_netperf, vpn_bench
from workflows.report import main
from workflows.reporting.imported import run_or_import
from workflows.reporting.studies import study_from_imports

CSV_OF_ITS_DOCS = """\
Driver,Profile,Same node,Host Network,Service,External Server,Duration,Parallelism,# of Samples,Message Size,\
Confidence metric - low,Confidence metric - high,Avg Throughput,Throughput Metric,99%tile Observed Latency,\
Latency Metric
netperf,TCP_STREAM,false,false,false,false,10,1,3,1024,861.9,885.3,873.606667,Mb/s,3.3,usec
netperf,TCP_CRR,false,false,true,false,10,1,3,1024,1169.2,2954.3,2061.776667,OP/s,4679.3,usec
"""
NETEM = {"bandwidth_mbit": None, "latency_ms": 4, "jitter_ms": 4, "packet_loss_percent": 0.5}


def measured(
    rate: float = 590e6, source: str = "lom", target: str = "yuki", **end: object
) -> dict[str, object]:
    """A test that vpn-bench calls a success, cut down to what is read."""
    return {
        "status": "success",
        "data": {
            "start": {
                "version": "iperf 3.20",
                "system_info": f"Linux {source} 6.12.57 #1-NixOS SMP x86_64",
                "timestamp": {"timesecs": 1766071289},
                "test_start": {"protocol": "TCP", "duration": 30, "omit": 0, "bidir": 1},
            },
            "intervals": [],
            "end": {
                "sum_sent": {"bits_per_second": rate * 1.01, "retransmits": 481},
                "sum_received": {"bits_per_second": rate},
                **end,
            },
        },
        "meta": {"source": source, "target": target, "test_attempts": 1},
    }


def failed(**error: object) -> dict[str, object]:
    return {
        "status": "error",
        "error_type": "CmdOut",
        "error": {
            "stdout": "",
            "stderr": "",
            "returncode": 1,
            "command_list": ["export PASSWORD=geheim"],
            **error,
        },
        "meta": {"source": "lom", "target": "yuki"},
    }


def bench(folder: Path, files: Mapping[str, object]) -> Path:
    """A benchmark's folder: name below it -> document, or text as it is."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def a_benchmark(folder: Path) -> Path:
    """Three pairs of machines, one VPN and the network without one, clean and impaired; UDP failed in every way."""
    files: dict[str, object] = {
        "General/comparison/baseline/tcp_iperf3.json": {"status": "success", "data": {"Tinc": {}}},
        "Tinc/baseline/parallel_tcp_iperf3.json": {"status": "success", "data": {"pairs": []}},
        "Tinc/layout.json": [],
        "Tinc/low_impairment/tc_settings.json": {"alias": "low_impairment", "settings": NETEM},
        "Tinc/low_impairment/0_lom/tcp_iperf3.json": measured(12e6),
    }
    for vpn, rate in (("Tinc", 500e6), ("Internal", 900e6)):
        files[f"{vpn}/baseline/tc_settings.json"] = {"alias": "baseline", "settings": None}
        for i, (source, target) in enumerate((("lom", "yuki"), ("yuki", "luna"), ("luna", "lom"))):
            name = f"{vpn}/baseline/{i}_{source}/tcp_iperf3.json"
            files[name] = measured(rate + i * 1e6, source, target)
    said = json.dumps({"end": {}, "error": "unable to read from stream socket"})
    files["Tinc/baseline/0_lom/udp_iperf3.json"] = failed(stdout=said)
    files["Tinc/baseline/1_yuki/udp_iperf3.json"] = failed(msg="Command timed out after 120 seconds")
    files["Tinc/baseline/2_luna/udp_iperf3.json"] = json.dumps(measured())[:300]
    return bench(folder, files)


def report(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def test_a_benchmark_of_vpn_bench_is_cells_of_pairs(tmp_path: Path) -> None:
    """A figure per pair of machines in Mbit/s; summaries, parallel tests and layouts are no figures."""
    study = study_from_imports(bench_dir=a_benchmark(tmp_path / "bench"))
    rows = study.tables["throughput"].filter(pl.col("measured") > 0).to_dicts()
    found = {(row["scenario"], row["condition"], row["test"]): row for row in rows}
    assert set(found) == {
        ("native-internal", "none", "tcp"),
        ("tinc", "none", "tcp"),
        ("tinc", "low-impairment", "tcp"),
    }
    assert found["tinc", "none", "tcp"]["mean_mbit_s"] == pytest.approx(501)
    assert found["tinc", "none", "tcp"]["mean_low"] is None
    assert study.samples.filter(scenario="tinc", condition="none", test="tcp")["pair"].sort().to_list() == [
        "lom>yuki",
        "luna>lom",
        "yuki>luna",
    ]
    told = " ".join(study.notes)
    assert "low-impairment: latency_ms 4, jitter_ms 4, packet_loss_percent 0.5" in told
    assert "of 3 pairs of machines, once each" in told


def test_what_failed_in_vpn_bench_is_a_failed_row_without_a_figure(tmp_path: Path) -> None:
    """With iperf3's words, the time-out's, or that the file is cut; never with the command, which holds a password."""
    udp = study_from_imports(bench_dir=a_benchmark(tmp_path / "bench")).samples.filter(test="udp")
    assert set(udp["outcome"]) == {"failed"}
    assert udp["rate_mbit_s"].null_count() == 3
    reasons = " ".join(udp["reason"])
    assert "CmdOut: unable to read from stream socket" in reasons
    assert "CmdOut: Command timed out after 120 seconds" in reasons
    assert "no JSON, or cut off" in reasons
    assert "geheim" not in reasons


@pytest.mark.parametrize("rate", [0, -1, None, "590", float("nan"), float("inf")])
def test_a_success_without_a_rate_is_a_failure(rate: object) -> None:
    document = measured(sum_received={"bits_per_second": rate})
    found = vpn_bench.parse(json.dumps(document))
    assert found.rate_mbit_s is None
    assert found.problem is not None


def test_several_benchmarks_are_never_pooled(tmp_path: Path) -> None:
    a_benchmark(tmp_path / "18.12.2025")
    only = study_from_imports(bench_dir=tmp_path)
    assert only.samples.height == 10
    a_benchmark(tmp_path / "26.02.2026")
    with pytest.raises(InputError, match="holds 2 benchmarks, which are never pooled"):
        study_from_imports(bench_dir=tmp_path)


def test_an_import_can_be_compared_and_says_what_nobody_recorded(tmp_path: Path) -> None:
    """The substrate is unknown, and said; other seconds per repetition are refused."""
    for name in ("a", "b"):
        made = report("--import-vpn-bench", a_benchmark(tmp_path / name / "bench"), "--out", tmp_path / name)
        assert made.exit_code == 0, made.output
    result = report("--compare", tmp_path / "a", tmp_path / "b")
    assert result.exit_code == 0, result.output
    assert "not recorded by either run, so taken to be alike: placement, engine, substrate" in result.output
    assert meaning(run_or_import(tmp_path / "a"))["seconds per repetition"] == "30.0"
    known = json.loads((tmp_path / "b" / "provenance.json").read_text())
    (tmp_path / "b" / "provenance.json").write_text(
        json.dumps(known | {"asked": {"duration_s": 60, "omit_s": 0}})
    )
    refused = report("--compare", tmp_path / "a", tmp_path / "b")
    assert (refused.exit_code, "seconds per repetition 30.0 against 60" in refused.output) == (2, True)


@pytest.mark.slow
def test_the_report_of_vpn_bench_has_its_conditions_and_failures(tmp_path: Path) -> None:
    made = report("--import-vpn-bench", a_benchmark(tmp_path / "bench"), "--out", tmp_path / "out")
    assert made.exit_code == 0, made.output
    assert "repetitions: 3 failed, 7 measured" in made.output
    assert "low-impairment" in (tmp_path / "out" / "report.md").read_text()
    assert condition_title("low-impairment") == "low-impairment"
    assert condition_title("delay-50ms+loss-1pct") == "delay 50 ms + loss 1 %"


def document(**more: object) -> dict[str, object]:
    """A document of k8s-netperf, cut down."""
    return {
        "uuid": "k8s-netperf",
        "timestamp": "2026-01-02T03:04:05.123456789Z",
        "hostNetwork": False,
        "driver": "iperf3",
        "parallelism": 1,
        "profile": "TCP_STREAM",
        "duration": 10,
        "service": False,
        "local": False,
        "samples": 3,
        "messageSize": 1024,
        "burst": 0,
        "throughput": 2523.4,
        "tputMetric": "Mb/s",
        "tcpRetransmits": 15.0,
        "udpLossPercent": 0,
        "toolVersion": "v0.1.40",
        "confidence": [2500.0, 2550.0],
    } | more


def netperf(folder: Path, files: Mapping[str, object]) -> Path:
    return bench(folder, files)


def test_k8s_netperf_is_one_figure_per_document(tmp_path: Path) -> None:
    """Six runs of one configuration are a cell of six figures, with an interval; latencies and requests are counted."""
    files = {
        f"nebula-direct/{i}.json": [document(throughput=300.0 + i), document(profile="TCP_RR")]
        for i in range(6)
    }
    study = study_from_imports(netperf_dir=netperf(tmp_path / "n", files))
    (row,) = study.tables["throughput"].to_dicts()
    assert (row["scenario"], row["measured"], row["mean_mbit_s"]) == ("nebula-direct", 6, 302.5)
    assert row["mean_low"] is not None
    told = " ".join(study.notes)
    assert "6 results of TCP_RR not used: no throughput" in told
    assert "a figure is the mean of 3 samples, which its files do not hold" in told
    assert "all figures share driver iperf3, duration 10, parallelism 1, messageSize 1024" in told


def test_configurations_of_k8s_netperf_are_never_pooled(tmp_path: Path) -> None:
    """What differs between results stands in the scenario's name."""
    documents = [document(), document(messageSize=8192), document(hostNetwork=True), document(parallelism=2)]
    study = study_from_imports(netperf_dir=netperf(tmp_path / "n", {"vpn/1.json": documents}))
    assert set(study.samples["scenario"]) == {
        "vpn+parallelism-1+messageSize-1024",
        "vpn+parallelism-1+messageSize-8192",
        "vpn+hostNetwork+parallelism-1+messageSize-1024",
        "vpn+parallelism-2+messageSize-1024",
    }


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"throughput": 0}, "throughput is 0: the tool had none"),
        ({"throughput": None}, "throughput is no number"),
        ({"tputMetric": "MiB/s"}, "throughput in MiB/s, wanted Mb/s"),
    ],
)
def test_what_k8s_netperf_had_not_is_a_failed_row(
    tmp_path: Path, more: dict[str, object], reason: str
) -> None:
    files = {"vpn/1.json": [document(), document(**more)]}
    rows = study_from_imports(netperf_dir=netperf(tmp_path / "n", files)).samples
    bad = rows.filter(outcome="failed").to_dicts()
    assert [(row["reason"], row["rate_mbit_s"], row["retransmits"]) for row in bad] == [(reason, None, None)]


def test_the_csv_of_k8s_netperf_is_read_where_there_is_no_json(tmp_path: Path) -> None:
    """A run writes both: with JSON beside it the CSV would count twice."""
    folder = netperf(
        tmp_path / "n", {"vpn/result-1766071289.csv": CSV_OF_ITS_DOCS, "vpn/cpu-result-1.csv": "x"}
    )
    alone = study_from_imports(netperf_dir=folder)
    assert alone.samples["rate_mbit_s"].to_list() == [873.606667]
    assert "cpu-result-1.csv: left out" in " ".join(alone.notes)
    netperf(folder, {"vpn/1.json": [document()]})
    both = study_from_imports(netperf_dir=folder)
    assert both.samples["rate_mbit_s"].to_list() == [2523.4]
    assert "there is JSON beside it" in " ".join(both.notes)


@pytest.mark.parametrize(
    ("option", "files", "told"),
    [
        ("--import-vpn-bench", {}, "holds no result of vpn-bench"),
        ("--import-vpn-bench", {"Tinc/baseline/0_lom/tcp_iperf3.json": '{"status": "succ'}, "cut off"),
        ("--import-k8s-netperf", {}, "nothing usable was found"),
        ("--import-k8s-netperf", {"vpn/1.json": '[{"uuid": "k8s-net'}, "cut off"),
        ("--import-k8s-netperf", {"vpn/1.json": [{"data": 1}]}, "not k8s-netperf's documents"),
        ("--import-k8s-netperf", {"vpn/result-1.csv": CSV_OF_ITS_DOCS[:-60]}, "line 3 is cut off"),
        ("--import-k8s-netperf", {"vpn/result-1.csv": "a,b\n1,2\n"}, "not a result-*.csv"),
    ],
)
def test_nothing_usable_is_one_sentence(
    tmp_path: Path, option: str, files: dict[str, object], told: str
) -> None:
    (tmp_path / "in").mkdir()
    result = report(option, bench(tmp_path / "in", files), "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_two_tools_at_once_are_refused(tmp_path: Path) -> None:
    result = report("--import-vpn-bench", tmp_path, "--import-k8s-netperf", tmp_path)
    assert (result.exit_code, "never pooled" in result.stderr) == (2, True)


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["status", "data", "meta", "end", "error", "profile", "throughput"]), inner
            )
        ),
    ).map(json.dumps)
)
def test_whatever_is_in_a_file_is_a_figure_a_reason_or_a_tool_error(text: str) -> None:
    """Never another exception, and a figure is above zero."""
    for parse in (vpn_bench.parse, k8s_netperf.parse_json, k8s_netperf.parse_csv):
        try:
            found = parse(text)
        except ToolError:
            continue
        for one in found if isinstance(found, tuple) else (found,):
            assert (one.problem is None) == bool(one.rate_mbit_s and one.rate_mbit_s > 0)
