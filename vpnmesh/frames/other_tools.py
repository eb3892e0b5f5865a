"""vpn-bench's and k8s-netperf's results as rows of the results table, with notes on what is not in them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vpnmesh.errors import ToolError
from vpnmesh.frames.imports import Imported, Row, as_results, failure_notes, unit_notes
from vpnmesh.frames.names import PublishedFile
from vpnmesh.tools import k8s_netperf, vpn_bench
from vpnmesh.tools.k8s_netperf import Result


@dataclass(frozen=True, slots=True)
class BenchFile:
    """A file of vpn-bench: whose it is, under which condition, and the machine that its folder names."""

    source: PublishedFile
    condition: str
    machine: str

    @property
    def test(self) -> str:
        """The test, by the file's name."""
        return vpn_bench.TESTS[self.source.file_name]


def import_vpn_bench(files: Iterable[tuple[BenchFile, str]]) -> Imported:
    """A row per file; a test that failed, and a file that cannot be read, is a failed repetition with the reason."""
    rows, durations = list[Row](), Counter[float]()
    facts: dict[str, frozenset[tuple[str, str]]] = defaultdict(frozenset)
    for file, text in files:
        try:
            found = vpn_bench.parse(text)
        except ToolError as error:
            found = vpn_bench.BenchRepetition(f"{file.machine}>", problem=error.reason)
        rows.append(_bench_row(file, found))
        facts[file.source.scenario] |= found.facts
        if found.duration_s:
            durations[found.duration_s] += 1
    samples = as_results(rows)
    pairs = samples.filter(outcome="measured")["pair"].n_unique()
    told = f"vpn-bench: a cell's figures are of {pairs} pairs of machines, once each: their spread is that between"
    notes = [f"{told} pairs, and both directions ran at once", _unknown("vpn-bench")]
    return Imported(
        samples, (*notes, *failure_notes(samples), *unit_notes(samples)), dict(facts), _asked(durations)
    )


def _bench_row(file: BenchFile, found: vpn_bench.BenchRepetition) -> Row:
    return {
        "scenario": file.source.scenario,
        "condition": file.condition,
        "test": file.test,
        "pair": found.pair,
        **_outcome(found.problem),
        "rate_mbit_s": None if found.problem else found.rate_mbit_s,
        "lost_pct": None if found.problem else found.lost_pct,
        "retransmits": None if found.problem else found.retransmits,
        "started_at": found.started_at,
        "raw": file.source.name,
    }


def _outcome(problem: str | None) -> Row:
    return {
        "outcome": "failed" if problem else "measured",
        "stage": "tool" if problem else None,
        "reason": problem,
    }


def _asked(durations: Mapping[float, int]) -> dict[str, object]:
    """The seconds per repetition, where all share them; nothing was omitted by either tool."""
    return {"duration_s": next(iter(durations)), "omit_s": 0} if len(durations) == 1 else {}


def import_k8s_netperf(files: Iterable[tuple[PublishedFile, str, str]]) -> Imported:
    """A row per configuration of each file (source, condition, text); what is no throughput is counted.

    A file that cannot be read is a note: nothing in its name says what it was about.
    """
    found, notes, others = list[tuple[PublishedFile, str, Result]](), list[str](), Counter[str]()
    for source, condition, text in files:
        try:
            results = _read(source, text)
        except ToolError as error:
            notes.append(f"{source.name}: not usable: {error.reason}")
            continue
        others.update(one.profile for one in results if one.test is None)
        found += [(source, condition, one) for one in results if one.test]
    varying = _varying([one for _, _, one in found])
    samples = as_results([_netperf_row(*one, varying, i) for i, one in enumerate(found)])
    notes += [f"k8s-netperf: {n} results of {name} not used: no throughput" for name, n in others.items()]
    notes += _means(found)
    durations = Counter(float(dict(one.configuration).get("duration", 0)) for _, _, one in found)
    return Imported(
        samples,
        (*notes, *failure_notes(samples), *unit_notes(samples)),
        _versions(found),
        _asked({seconds: n for seconds, n in durations.items() if seconds}),
    )


def _read(source: PublishedFile, text: str) -> tuple[Result, ...]:
    read = k8s_netperf.parse_csv if source.file_name.endswith(".csv") else k8s_netperf.parse_json
    return read(text)


def _varying(found: Sequence[Result]) -> tuple[str, ...]:
    """The parts of the configuration that are not the same in all results: they belong to a scenario's name."""
    values = {
        name: {dict(one.configuration).get(name, "") for one in found} for name in k8s_netperf.CONFIGURATION
    }
    return tuple(name for name, told in values.items() if len(told) > 1)


def _netperf_row(
    source: PublishedFile, condition: str, found: Result, varying: Sequence[str], index: int
) -> Row:
    known = dict(found.configuration)
    parts = [f"{name}-{known[name]}" if known[name] != "true" else name for name in varying if name in known]
    return {
        "scenario": "+".join((source.scenario, *parts)),
        "condition": condition,
        "test": found.test,
        **_outcome(found.problem),
        "rate_mbit_s": found.rate_mbit_s,
        "lost_pct": None if found.problem else found.lost_pct,
        "retransmits": None if found.problem else found.retransmits,
        "started_at": found.started_at,
        "raw": f"{source.name}#{index}",
    }


def _unknown(tool: str) -> str:
    """What nobody must read into these figures."""
    return f"{tool}: its files do not say what it ran on: substrate, placement and engine are not recorded"


def _means(found: Sequence[tuple[PublishedFile, str, Result]]) -> list[str]:
    """What a figure of k8s-netperf is, and what all of them share."""
    if not found:
        return []
    samples = sorted({one.samples for _, _, one in found if one.samples})
    counts = " or ".join(map(str, samples)) or "an unknown number of"
    known = [dict(one.configuration) for _, _, one in found]
    shared = [f"{k} {v}" for k, v in known[0].items() if all(one.get(k) == v for one in known)]
    return [
        f"k8s-netperf: a figure is the mean of {counts} samples, which its files do not hold: a file counts once",
        f"k8s-netperf: all figures share {', '.join(shared) or 'no part of their configuration'}",
        _unknown("k8s-netperf"),
    ]


def _versions(
    found: Sequence[tuple[PublishedFile, str, Result]],
) -> dict[str, frozenset[tuple[str, str]]]:
    facts: dict[str, frozenset[tuple[str, str]]] = defaultdict(frozenset)
    for source, _, one in found:
        facts[source.scenario] |= frozenset({("k8s-netperf version", one.version)} if one.version else ())
    return dict(facts)
