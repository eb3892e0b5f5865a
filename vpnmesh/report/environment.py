"""Table 2: what the figures were measured on, as the tools recorded it."""

from collections import defaultdict
from collections.abc import Mapping

import polars as pl

from vpnmesh.study.scenarios import Catalogue

ENVIRONMENT: dict[str, pl.DataType] = {
    "component": pl.String(),
    "description": pl.String(),
}

_NAMES = {
    "cpu": "CPU",
    "kernel": "Kernel",
    "k8s-version": "Kubernetes version",
    "mtu": "Pod MTU",
    "knb-version": "k8s-bench-suite version",
}
Facts = Mapping[str, frozenset[tuple[str, str]]]


def environment(provenance: Mapping[str, object]) -> pl.DataFrame:
    """A row per component of `provenance["environment"]` (component -> description), in its order."""
    known = provenance.get("environment")
    rows = [(str(k), str(v)) for k, v in known.items()] if isinstance(known, Mapping) else []
    return pl.DataFrame(rows, schema=ENVIRONMENT, orient="row")


def environment_of(facts: Facts, catalogue: Catalogue) -> dict[str, str]:
    """The components that a tool's files tell about, differing scenarios named."""
    told: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for scenario, pairs in facts.items():
        for name, value in pairs:
            told[name][value].add(scenario)
    ordered = [name for name in _NAMES if name in told] + sorted(set(told).difference(_NAMES))
    return {_NAMES.get(name, name): _described(told[name], len(facts), catalogue) for name in ordered}


def differing(facts: Facts, catalogue: Catalogue) -> list[str]:
    """A warning for each fact but the MTU that is not the same for all scenarios: they were not measured alike."""
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for scenario, pairs in facts.items():
        for name, value in pairs:
            values[name][value].add(scenario)
    return [
        f"{_NAMES.get(name, name)} differs between scenarios: {_described(by_value, len(facts), catalogue)}"
        for name, by_value in sorted(values.items())
        if name != "mtu" and len(by_value) > 1
    ]


def _described(by_value: Mapping[str, set[str]], scenarios: int, catalogue: Catalogue) -> str:
    """The value that most scenarios share, then every other one with the scenarios that have it."""
    ordered = sorted(by_value, key=lambda value: (-len(by_value[value]), value))
    first, *others = ordered
    whose = "" if len(by_value[first]) == scenarios or not others else " (all others)"
    named = [f"{value} ({', '.join(catalogue.in_order(by_value[value]))})" for value in others]
    return "; ".join([f"{first}{whose}", *named])
