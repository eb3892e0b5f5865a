"""What the measuring tools print: no figure that the text does not hold, and none from half an answer."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import mutation
from tests.fuzz.target import Case, Target
from tests.measurements.cases import Case as Recorded
from tests.measurements.cases import cases
from vpnmesh.measurements import MEASUREMENTS
from vpnmesh.model import NodeKind
from vpnmesh.study.outcome import Measured
from vpnmesh.tools import hey, iperf3, k8s_netperf, knb, netem, ping, vpn_bench
from vpnmesh.tools.iperf3_series import Arrived, series_of, unbroken
from vpnmesh.tools.load import NodeLoad
from vpnmesh.tools.load import parse as parse_load

CAPTURED = Path(__file__).resolve().parents[1] / "captured"
RECORDED = CAPTURED.parent / "measurements"
_NEAR = 1e-9


def texts(*patterns: str) -> tuple[str, ...]:
    """The captured files of these patterns."""
    found = [path for pattern in patterns for path in sorted(CAPTURED.glob(pattern))]
    return tuple(path.read_text(encoding="utf-8") for path in found)


def complaint(named: Mapping[str, float | None]) -> str:
    """What no figure may be: no number, below zero, or a share of more than all."""
    for name, value in named.items():
        if value is None:
            continue
        if isinstance(value, bool) or not math.isfinite(value):
            return f"not finite: {name} is {value!r}"
        if value < 0:
            return f"negative: {name} is {value!r}"
        if name == "lost_pct" and value > 100:
            return f"more than all: {name} is {value!r}"
    return ""


def cut_off(case: Case[Any]) -> bool:
    """Whether the text is the beginning of what was whole, with more than blanks lost."""
    before, now = case.before, case.value
    return before.startswith(now) and bool(before[len(now) :].strip())


def _samples(found: Measured) -> dict[str, float | None]:
    return {one.name: one.value for one in found.samples}


def _iperf3_judge(case: Case[str], found: Measured) -> str:
    """The receiver's own figure, exactly as it is in the JSON that arrived."""
    if cut_off(case):
        return f"cut off: and yet {found}"
    if wrong := complaint(_samples(found)):
        return wrong
    told = json.loads(case.value)["end"]["sum_received"]["bits_per_second"] / 1e6
    if not found.get("rate_mbit_s") or abs(told - (found.get("rate_mbit_s") or 0)) > _NEAR * told:
        return f"another figure: {found} of {told}"
    return ""


def _iperf3_json() -> tuple[str, ...]:
    kept = tuple(path.read_text() for path in sorted(RECORDED.glob("*/*/client.json")))
    return (*texts("iperf3/*.json"), *(one for one in kept if len(one) < 300_000))


def _series_judge(case: Case[str], found: Sequence[Arrived]) -> str:
    """Intervals in order, none twice, none of nothing."""
    ended_s = 0.0
    for one in found:
        wrong = complaint({"start": one.start_s, "end": one.end_s, "rate": one.rate_mbit_s})
        if wrong or one.end_s <= one.start_s or one.lost > one.datagrams:
            return wrong or f"no interval: {one}"
        if one.start_s < ended_s - 0.02:
            return f"out of order: {one} after {ended_s}"
        ended_s = one.end_s
    rates = {float(word) for word in re.findall(r"([\d.]+) Kbits/sec", case.value)}
    strange = [one for one in found if round(one.rate_mbit_s * 1000, 6) not in {round(r, 6) for r in rates}]
    return f"another figure: {strange[0]}" if strange else ""


def _series(text: str) -> Sequence[Arrived]:
    return unbroken(series_of(text))


def _sender_judge(_case: Case[str], found: iperf3.Sender) -> str:
    sent = {str(number): one.sent_bytes for number, one in enumerate(found.series)}
    return complaint({"round trip": found.round_trip_s, **sent})


def _ping_judge(case: Case[str], found: ping.PingSummary) -> str:
    """Counts as they are printed; never more answers than questions; a time only where ping told it."""
    if not 0 <= found.received <= found.sent or not found.sent:
        return f"counts: {found}"
    if found.rtt is None:
        return "" if not found.received else f"no times: {found}"
    one = found.rtt
    if wrong := complaint({"min": one.min_ms, "avg": one.avg_ms, "max": one.max_ms, "mdev": one.mdev_ms}):
        return wrong
    if not one.min_ms <= one.avg_ms + 0.001 or not one.avg_ms <= one.max_ms + 0.001:
        return f"no order: {one}"
    return ""


def _load_judge(_case: Case[str], found: NodeLoad) -> str:
    return complaint({name: getattr(found, name) for name in found.__slots__})


def _knb_judge(_case: Case[str], found: knb.Contents) -> str:
    for one in found.repetitions:
        named = {"rate": one.rate_mbit_s, "cpu": one.client.cpu_pct, "ram": one.server.ram_mb}
        if wrong := complaint(named):
            return wrong
        if not one.problem and one.test != "idle" and not one.rate_mbit_s:
            return f"no rate: {one}"
    return ""


def _bench_judge(_case: Case[str], found: vpn_bench.BenchRepetition) -> str:
    named = {"rate": found.rate_mbit_s, "lost_pct": found.lost_pct, "retransmits": found.retransmits}
    if not found.problem and not found.rate_mbit_s:
        return f"no rate: {found}"
    return complaint({**named, "duration": found.duration_s})


def _netperf_judge(_case: Case[str], found: Sequence[k8s_netperf.Result]) -> str:
    for one in found:
        named = {"rate": one.rate_mbit_s, "lost_pct": one.lost_pct, "retransmits": one.retransmits}
        if wrong := complaint({**named, "samples": one.samples}):
            return wrong
        if not one.problem and not one.rate_mbit_s:
            return f"no rate: {one}"
    return ""


NETPERF = json.dumps(
    [
        {
            "profile": profile, "throughput": 942.5, "tputMetric": "Mb/s", "driver": "netperf", "duration": 10,
            "samples": 3, "hostNetwork": False, "parallelism": 1, "messageSize": 1024, "tcpRetransmits": 12,
            "udpLossPercent": 0.5, "timestamp": "2025-12-18T15:21:29.123456789Z", "toolVersion": "v1.2", "local": True,
        }
        for profile in ("TCP_STREAM", "UDP_STREAM", "TCP_RR")
    ]
)  # fmt: skip
NETPERF_CSV = (
    "Driver,Profile,Same node,Host Network,Duration,# of Samples,Message Size,Avg Throughput,Throughput Metric\n"
    "netperf,TCP_STREAM,false,true,10,3,1024,942.5,Mb/s\nnetperf,UDP_STREAM,false,true,10,3,1024,620.25,Mb/s\n"
)


@cache
def _bench_texts() -> tuple[str, ...]:
    data = json.loads(texts("iperf3/tcp-relayed.json")[0])
    good = {"status": "success", "data": data, "meta": {"source": "a", "target": "b"}}
    bad = {
        "status": "error",
        "error_type": "CmdTimeout",
        "error": {"msg": "no", "stdout": '{"error": "unable to connect"}', "returncode": 1},
        "meta": {"source": "a", "target": "b"},
    }
    return json.dumps(good), json.dumps(bad)


def _recorded(test: str) -> Target[dict[str, str]]:
    """All files of a recorded repetition, through the measurement's own `parse`."""

    @cache
    def known() -> tuple[Recorded, ...]:
        return tuple(cases(test))

    @cache
    def seeds() -> tuple[dict[str, str], ...]:
        return tuple({**one.raw, "": one.name} for one in known())

    def mutate(rng: Random, files: dict[str, str]) -> dict[str, str]:
        kept = {name: text for name, text in files.items() if name}

        def change(rng: Random, text: str, name: str) -> str:
            return mutation.json_text(rng, text) if name.endswith(".json") else mutation.text(rng, text)

        return {**mutation.one_of(kept, change, rng), "": files[""]}

    def call(files: dict[str, str]) -> Measured:
        question = next(one.question for one in known() if one.name == files[""])
        return MEASUREMENTS[test].parse({name: text for name, text in files.items() if name}, question)

    def judge(case: Case[dict[str, str]], found: Measured) -> str:
        declared = {one.name for one in MEASUREMENTS[test].figures}
        if undeclared := {one.name for one in found.samples} - declared:
            return f"undeclared: {undeclared}"
        lost = [one for one in case.before if one not in case.value]
        return complaint(_samples(found)) or (f"without a file: {lost}" if set(lost) & _NEEDED else "")

    return Target(f"measurement {test}", seeds, mutate, call, judge, share=1.5)


_NEEDED = {"client.json", "ping.txt", "requests.csv", "phases.json"}


def _load_call(text: str) -> NodeLoad:
    return parse_load(text, NodeKind.NETNS, ("tailscaled", "nebula"), 1.0, "iperf3")


@cache
def _load_texts() -> tuple[str, ...]:
    kept = tuple(path.read_text() for path in sorted(RECORDED.glob("*/*/load-*.txt")))
    return (*texts("load/*.txt"), *(one for one in kept if len(one) < 200_000))[:8]


def _nothing(_case: Case[Any], _found: object) -> str:
    return ""


def _hey_text(value: str) -> object:
    hey.check_header(value.partition("\n")[0])
    return value


TARGETS: tuple[Target[Any], ...] = (
    Target(
        "iperf3 tcp", _iperf3_json, mutation.json_text, lambda text: iperf3.parse(text, "tcp"), _iperf3_judge, 1.5
    ),
    Target("iperf3 udp", _iperf3_json, mutation.json_text, lambda text: iperf3.parse(text, "udp"), _iperf3_judge),
    Target(
        "iperf3 sender", _iperf3_json, mutation.json_text, iperf3.sender_of,
        _sender_judge,
    ),
    Target("iperf3 series", lambda: texts("iperf3-series/*.txt"), mutation.text, _series, _series_judge, 1.5),
    Target("ping", lambda: texts("ping/*/stdout"), mutation.text, ping.parse, _ping_judge, 1.5),
    Target("ping side by side", lambda: texts("ping/*/stdout"), mutation.text, ping.parse_all, _ping_judge),
    Target("load", _load_texts, mutation.text, _load_call, _load_judge),
    Target("tc qdiscs", lambda: texts("tc/*/stdout"), mutation.json_text, netem.parse_qdiscs, _nothing),
    Target("tc filters", lambda: texts("tc/flower*/stdout"), mutation.json_text, netem.parse_filters, _nothing),
    Target("hey header", lambda: texts("hey/*/*.csv"), mutation.text, _hey_text, _nothing, 0.2),
    Target(
        "knb", lambda: texts("knb/*/*.json", "published/knb/**/*.json"), mutation.json_text, knb.parse, _knb_judge
    ),
    Target("vpn-bench", _bench_texts, mutation.json_text, vpn_bench.parse, _bench_judge),
    Target("k8s-netperf json", lambda: (NETPERF,), mutation.json_text, k8s_netperf.parse_json, _netperf_judge, 0.5),
    Target("k8s-netperf csv", lambda: (NETPERF_CSV,), mutation.text, k8s_netperf.parse_csv, _netperf_judge, 0.5),
    *(_recorded(test) for test in MEASUREMENTS),
)  # fmt: skip
