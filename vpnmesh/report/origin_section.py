"""Where a difference comes from: every ratio to the baseline taken apart, and what throughput costs."""

from collections.abc import Iterator, Mapping

import polars as pl

from vpnmesh.frames.events import STACKS
from vpnmesh.report.formatting import TableCell, cell, significant
from vpnmesh.report.machine_limit import MACHINE_FULL, PROCESSES_FULL, default_congestion
from vpnmesh.report.origin import ORIGIN
from vpnmesh.report.page import Block, FigureBlock, Items, Paragraph, Section, TableBlock
from vpnmesh.report.tables import Study
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.stats.intervals import fewest_for_interval

TABLES = ("origin", "efficiency", "stacks")
"""The tables that this section shows."""
_MANY = 10
CPU_BOUND = "CPU-bound: its figure is the machine's"
_COLUMNS = (
    "test", "condition", "scenario", "scenario / baseline (95 %)", "host's TCP", "packets one by one",
    "the tunnel", "CPU per Gbit / baseline's", "baseline with its stack", "mark",
)  # fmt: skip
_COST_COLUMNS = (
    "test", "condition", "scenario", "figure", "unit", "n", "mean", "95 % from", "to", "lowest", "highest", "mark",
)  # fmt: skip


def sections(study: Study, figures: Mapping[str, str]) -> list[Section]:
    """The section, where a run measured a VPN beside its baseline, or anybody's CPU; else nothing."""
    rows = study.tables.get("origin", pl.DataFrame(schema=ORIGIN))
    costs = study.tables.get("efficiency", pl.DataFrame())
    blocks = [*(_parts(study, rows, figures) if not rows.is_empty() else ()), *_costs(costs, figures)]
    return [Section("origin", "Where does a difference come from", tuple(blocks))] if blocks else []


def _parts(study: Study, rows: pl.DataFrame, figures: Mapping[str, str]) -> Iterator[Block]:
    own = default_congestion(study.provenance)
    yield Paragraph(
        "A VPN's throughput over that of the plain baseline is the product of three parts. Host's TCP: what the "
        f"baseline gains when its pods use the nodes' own congestion control{f' ({own})' if own else ''}, as TCP "
        "connections of a relay do whatever the pods ask for. Packets one by one: what it loses without offloads at "
        "the pods' interfaces, as a tunnel hands them over. The tunnel: what is left. Where a part is a dash, the "
        "VPN's stack has nothing of the kind, or its baseline was not measured, and then it is in the tunnel's."
    )
    if lacking := sorted({name for text in rows["lacking"].drop_nulls() for name in text.split(", ")}):
        yield Paragraph(
            f"Not taken apart as far as could be: this run lacks {', '.join(lacking)}; measure them too "
            '(docs/scenarios.md, "A baseline with a VPN\'s stack").',
            "warning",
        )
    if drawn := figures.get("origin-tcp"):
        yield FigureBlock("origin-tcp", _DRAWN, drawn)
    if told := tuple(_sentences(rows, own)):
        yield Items("In words", told, folded=len(told) > _MANY)
    yield TableBlock(
        "origin", _caption(), _COLUMNS, tuple(_row(row) for row in rows.to_dicts()), "tables/origin.csv"
    )
    if stacks := tuple(_stacks(study, rows)):
        yield Items(
            "What each VPN's stack uses: as its module says, and as seen on the nodes", stacks, folded=True
        )


_DRAWN = (
    "TCP: what moves each VPN away from the plain baseline, which is 1. In each row from the top: the host's TCP, "
    "packets one by one, the tunnel; each line begins where the one before it ends. The marker is the VPN, the thin "
    "line its 95 % interval. Where a part was not measured, it is in the tunnel's line."
)


def _caption() -> str:
    return (
        f"Ratios of means; intervals are Fieller's, from {fewest_for_interval()} figures each. {CPU_BOUND} where a "
        f"lab's machine or a node was busy for {MACHINE_FULL:.0%} of its cores or more, or the VPN's processes on a "
        f"node for {PROCESSES_FULL:.0%} of the cores that they can use: on a faster machine the tunnel's part is "
        "another. CPU per Gbit is that of client, server and relay together, over that of the baseline in the column "
        "after it."
    )


def _row(row: Mapping[str, object]) -> tuple[TableCell, ...]:
    return (
        *(cell(name, row[name]) for name in ("test", "condition", "scenario")),
        *(_ratio(row, name) for name in ("ratio", "tcp", "offloads", "tunnel", "cpu_cost")),
        cell("tuned", row["tuned"]),
        cell("mark", _mark(row) or None),
    )


def _ratio(row: Mapping[str, object], name: str) -> TableCell:
    value = row[name]
    if not isinstance(value, float):
        return cell(name, None)
    return TableCell(f"{_short(value)}{_interval(row, name)}", value)


def _short(value: float) -> str:
    """A ratio with three significant digits: its interval says that more would mean nothing."""
    return f"{value:.3g}"


def _interval(row: Mapping[str, object], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if not isinstance(low, float) or not isinstance(high, float):
        return ""
    return f" ({_short(low)} to {_short(high)})"


def _mark(row: Mapping[str, object]) -> str:
    parts = [f"{CPU_BOUND} ({row['cpu_bound']})"] if row["cpu_bound"] else []
    parts += [f"{row['tuned']} is CPU-bound as well"] if row["baseline_cpu_bound"] else []
    parts += [str(row["note"])] if row["note"] else []
    return "; ".join(parts)


def _sentences(rows: pl.DataFrame, own: str) -> Iterator[str]:
    """A sentence for each ratio that has an interval, and that a tuned baseline or a full machine says something of."""
    for row in rows.to_dicts():
        if not isinstance(row["ratio_low"], float) or not (row["tcp"] or row["offloads"] or row["cpu_bound"]):
            continue
        names = {"tcp": f"the host's TCP{f' ({own})' if own else ''}", "offloads": "packets one by one"}
        parts = [f"{_short(row[part])} by {words}" for part, words in names.items() if row[part]]
        parts.append(f"{_short(row['tunnel'])} by the tunnel{_cost_words(row)}")
        yield (
            f"{row['scenario']}, {row['test'].upper()}, {row['condition']}: {_short(row['ratio'])} of "
            f"{row['baseline']}{_interval(row, 'ratio')}, which is {' times '.join(parts)}."
        )


def _cost_words(row: Mapping[str, object]) -> str:
    """That the tunnel's part is the machine's where cores were full, and what a Gbit cost there."""
    cost = row["cpu_cost"]
    if not row["cpu_bound"]:
        return ""
    return (
        f" (the machine's: a Gbit took {_short(cost)} times the CPU)"
        if isinstance(cost, float)
        else " (the machine's)"
    )


def _stacks(study: Study, rows: pl.DataFrame) -> Iterator[str]:
    for name in dict.fromkeys(rows["scenario"]):
        scenario = study.scenarios.named(name)
        seen = _seen(study, name)
        words = SOLUTIONS[scenario.solution].stack(scenario).words() or "nothing of its own"
        yield f"{name}: {words}{f'. Seen: {seen}' if seen else ''}"


def _seen(study: Study, scenario: str) -> str:
    """What nodes were seen to use, those that agree together."""
    nodes: dict[tuple[str, str], list[str]] = {}
    table = study.tables.get("stacks", pl.DataFrame(schema=STACKS)).filter(scenario=scenario)
    for node, of, seen in table.select("node", "of", "seen").rows():
        nodes.setdefault((of, seen), []).append(node)
    return "; ".join(f"{of} {seen} ({', '.join(names)})" for (of, seen), names in nodes.items())


def _costs(rows: pl.DataFrame, figures: Mapping[str, str]) -> Iterator[Block]:
    if rows.is_empty():
        return
    for name in ("efficiency-tcp", "efficiency-udp"):
        if drawn := figures.get(name):
            caption = (
                f"{name.removeprefix('efficiency-').upper()}: CPU-seconds that client, server and relay spent per "
                "Gbit that arrived; filled: the VPN's own processes. The line is the 95 % interval of the mean, or the "
                f"range where there are fewer than {fewest_for_interval()} figures."
            )
            yield FigureBlock(name, caption, drawn)
    caption = (
        "CPU-seconds per Gbit that arrived, and memory of the VPN's own processes by node. The 95 % interval of the "
        f"mean is Student's, from {fewest_for_interval()} figures; below that there is the range alone."
    )
    yield TableBlock(
        "efficiency", caption, _COST_COLUMNS, tuple(map(_cost, rows.to_dicts())), "tables/efficiency.csv"
    )


def _cost(row: Mapping[str, object]) -> tuple[TableCell, ...]:
    numbers = (row[name] for name in ("mean", "low", "high", "least", "greatest"))
    return (
        *(cell(name, row[name]) for name in ("test", "condition", "scenario", "title", "unit", "n")),
        *(TableCell(significant(one), one) if isinstance(one, float) else cell("", None) for one in numbers),
        cell("mark", f"{CPU_BOUND} ({row['cpu_bound']})" if row["cpu_bound"] else None),
    )
