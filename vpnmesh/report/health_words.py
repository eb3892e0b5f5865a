"""Whether a cluster survived, in a sentence per scenario and condition; for a terminal and the report."""

from collections.abc import Iterator, Mapping

import polars as pl

from vpnmesh.report.health import HEALTH, TEST
from vpnmesh.report.tables import Study


def sentences(study: Study) -> Iterator[str]:
    """What happened to the cluster of each scenario, over all phases and repetitions: nothing without such a test."""
    table = study.tables.get("health", pl.DataFrame(schema=HEALTH))
    for (scenario, condition), rows in table.partition_by(
        "scenario", "condition", as_dict=True, maintain_order=True
    ).items():
        figures = study.tables["figures"].filter(scenario=scenario, condition=condition, test=TEST)
        most = dict(figures.select("figure", "greatest").iter_rows())
        where = "" if condition == "none" else f", {condition}"
        yield f"{scenario}{where}: {'; '.join(_said(rows.to_dicts(), most))}"


def _said(rows: list[dict[str, object]], most: Mapping[str, float]) -> Iterator[str]:
    yield _seconds(rows, most, "not_ready_s", "nodes NotReady for up to", "no node became NotReady")
    yield _seconds(rows, most, "api_outage_s", "API away from the worker for up to", "the API was never away")
    yield _seconds(rows, most, "pods_outage_s", "pods apart for up to", "pods were never apart")
    yield f"watches that ended: {_sum(rows, 'watch_reconnects')}"
    yield f"endpoints removed: {_sum(rows, 'endpoints_removed')}"
    if gone := _sum(rows, "pods_rescheduled"):
        yield f"pods told to go: {gone}"
    if most.get("routes_missing_s"):
        back = ", put back by vpnmesh" if _sum(rows, "put_back") else ""
        yield _seconds(rows, most, "routes_missing_s", "pods' routes missing for up to", "") + back


def _seconds(rows: list[dict[str, object]], most: Mapping[str, float], name: str, bad: str, good: str) -> str:
    """The longest of all, which may be longer than its part in any phase, and the phase with most of it."""
    if not (longest_s := most.get(name)):
        return good
    parts = [
        (value, str(row["phase"])) for row in rows if isinstance(value := row[name], float) and value > 0
    ]
    return f"{bad} {longest_s:.1f} s ({max(parts)[1]})" if parts else f"{bad} {longest_s:.1f} s"


def _sum(rows: list[dict[str, object]], name: str) -> int:
    return sum(value for row in rows if isinstance(value := row[name], int))
