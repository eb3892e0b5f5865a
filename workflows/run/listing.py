"""The plan of a run as a list of its cells, for a person or as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import click
from rich.console import Console

from vpnmesh.study.manifest import grouped
from vpnmesh.study.matrix import MatrixPlan, without
from vpnmesh.study.remarks import remarks
from workflows.run.availability import Availability


def show_plan(
    console: Console, plan: MatrixPlan, there: Sequence[Availability] = (), *, as_json: bool
) -> None:
    """List every cell; as JSON only that list, with a pair written CLIENT>SERVER and seconds with overhead.

    `there` says of each scenario whether it can be attempted, where that is known without asking nodes.
    """
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
    wide = max((len(one.cell.condition) for one in plan.cells), default=0)
    for one in plan.cells:
        cell = one.cell
        console.print(
            f"{cell.scenario:18} {cell.condition:{max(14, wide)}} {cell.test:11} {cell.pair!s:20} "
            f"{one.repetitions:4} repetitions {one.seconds:9.1f} s",
            highlight=False,
        )
    show_programs(console, there)
    for sentence in (*remarks(plan), *beside(plan)):
        console.print(sentence, highlight=False)
    if missing := [one.scenario for one in there if one.reason]:
        console.print(without_these(without(plan, missing), missing), highlight=False)
    if not there:
        console.print("which programs its nodes have: --dry-run asks them", highlight=False)
    console.print(
        f"{len(plan.cells)} cells, {plan.repetitions} repetitions, {len(plan.visits)} visits "
        f"({plan.switching_s:.0f} s switching), estimated {_long(plan.seconds)}",
        highlight=False,
    )


def show_programs(console: Console, there: Sequence[Availability]) -> None:
    """A line per scenario: the programs that it would run, with versions and folders, or what is missing."""
    width = max((len(one.scenario) for one in there), default=0)
    for one in there:
        console.print(f"{one.scenario:{width}}  {one.said}", highlight=False, markup=False)


def beside(plan: MatrixPlan) -> list[str]:
    """The scenarios that ship beside the paper's, and how they are measured; nothing where others were chosen."""
    chosen = plan.profile.scenarios
    if chosen != plan.catalogue.paper:
        return []
    others = [one.name for one in plan.catalogue.scenarios if one.name not in chosen and not one.variant_of]
    return [f"on request, by --scenarios: {', '.join(others)}; variants and versions: docs/scenarios.md"]


def told_missing(able: MatrixPlan, missing: Mapping[str, str]) -> list[str]:
    """Each reason once with its scenarios, and what the plan is without them."""
    if not missing:
        return []
    return [
        *(f"unavailable: {sentence}" for sentence in grouped(missing)),
        without_these(able, list(missing)),
    ]


def told_tests(lacking: Mapping[str, str]) -> list[str]:
    """Each reason once with its tests, which are in no scenario and take no time."""
    return [f"unavailable: {sentence}" for sentence in grouped(lacking)]


def without_these(able: MatrixPlan, missing: Sequence[str]) -> str:
    """How much is left of a plan whose missing scenarios cost nothing."""
    return f"without {', '.join(missing)}: {able.repetitions} repetitions, estimated {_long(able.seconds)}"


def _long(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds > 7200 else f"{seconds / 60:.1f} minutes"  # noqa: PLR2004
