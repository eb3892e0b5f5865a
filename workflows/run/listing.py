"""The plan of a run as a list of its cells, for a person or as JSON."""

import json
from dataclasses import asdict

import click
from rich.console import Console

from vpnmesh.study.matrix import MatrixPlan, remarks


def show_plan(console: Console, plan: MatrixPlan, *, as_json: bool) -> None:
    """List every cell; as JSON only that list, with a pair written CLIENT>SERVER and seconds with overhead."""
    if as_json:
        rows = [
            {
                **asdict(one.cell),
                "pair": str(one.cell.pair),
                "repetitions": one.repetitions,
                "seconds": one.seconds,
            }
            for one in plan.cells
        ]
        click.echo(json.dumps(rows, indent=1))
        for sentence in remarks(plan):
            click.echo(sentence, err=True)
        return
    for one in plan.cells:
        cell = one.cell
        console.print(
            f"{cell.scenario:18} {cell.condition:14} {cell.test:11} {cell.pair!s:20} "
            f"{one.repetitions:4} repetitions {one.seconds:9.1f} s",
            highlight=False,
        )
    for sentence in remarks(plan):
        console.print(sentence, highlight=False)
    console.print(
        f"{len(plan.cells)} cells, {plan.repetitions} repetitions, {len(plan.visits)} visits "
        f"({plan.switching_s:.0f} s switching), estimated {_long(plan.seconds)}",
        highlight=False,
    )


def _long(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds > 7200 else f"{seconds / 60:.1f} minutes"  # noqa: PLR2004
