"""Whether a cluster survived, in a sentence per scenario and condition; for a terminal and the report."""

from collections.abc import Iterator, Mapping

import polars as pl

from vpnmesh.report.health import HEALTH
from vpnmesh.report.tables import Study

_STEADY = "steady"
_Row = Mapping[str, object]


def sentences(study: Study) -> Iterator[str]:
    """What happened to the cluster of each scenario, over all phases and repetitions: nothing without such a test."""
    table = study.tables.get("health", pl.DataFrame(schema=HEALTH))
    for (scenario, condition), rows in table.partition_by(
        "scenario", "condition", as_dict=True, maintain_order=True
    ).items():
        where = "" if condition == "none" else f", {condition}"
        yield f"{scenario}{where}: {'; '.join(_said(rows.to_dicts()))}"


def _said(rows: list[dict[str, object]]) -> Iterator[str]:
    yield _seconds(rows, "not_ready_s", "nodes NotReady for up to", "no node became NotReady")
    yield _seconds(rows, "api_outage_s", "API away from the worker for up to", "the API was never away")
    yield _seconds(rows, "pods_outage_s", "pods apart for up to", "pods were never apart")
    yield f"{_sum(rows, 'watch_reconnects')} watches ended, {_sum(rows, 'endpoints_removed')} endpoints removed"
    if _sum(rows, "pods_rescheduled"):
        yield f"{_sum(rows, 'pods_rescheduled')} pods told to go"
    if _worst(rows, "routes_missing_s"):
        back = ", put back by vpnmesh" if _sum(rows, "put_back") else ""
        yield _seconds(rows, "routes_missing_s", "pods' routes missing for up to", "") + back


def _seconds(rows: list[dict[str, object]], name: str, bad: str, good: str) -> str:
    worst = _worst(rows, name)
    return f"{bad} {worst[0]:.1f} s ({worst[1]})" if worst else good


def _worst(rows: list[dict[str, object]], name: str) -> tuple[float, str] | None:
    """The longest and its phase; None where there is none."""
    found = [
        (value, str(row["phase"])) for row in rows if isinstance(value := row[name], float) and value > 0
    ]
    return max(found, default=None)


def _sum(rows: list[dict[str, object]], name: str) -> int:
    return sum(value for row in rows if isinstance(value := row[name], int))
