"""How a mesh grows: join time and the control plane's cost from few members to many, with the fitted exponents.

Each scenario is set up anew at every size, on one lab that is as large as the largest mesh needs; sizes come in an
order by chance. Written are growth.csv, growth.svg and growth.txt.

\b
examples:
  python -m workflows.growth --scenario nebula-direct
  python -m workflows.growth --scenario headscale-direct,nebula-direct --members 3,6,12,24 --repetitions 2
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
import polars as pl
from rich.console import Console

import tasks
from inventory.load import load
from vpnmesh.errors import InputError, VpnmeshError
from vpnmesh.model import Scenario
from vpnmesh.study.growth import (
    GrowthStep,
    Usage,
    parse_members,
    parse_usage,
    rows,
    spent,
    usage_argv,
    with_members,
)
from vpnmesh.study.scenarios import BUILT_IN
from workflows.run.agreement import may_change
from workflows.run.cluster_record import refuse_beside_cluster
from workflows.run.firewall import FirewallRun, run_of
from workflows.run.foreign import beside_option, refuse_foreign
from workflows.run.hosts import run_on
from workflows.run.intents import of_lease
from workflows.run.interrupts import InterruptedRunError, closing_connections
from workflows.run.lab import lab_for
from workflows.run.lease import leased
from workflows.run.options import bad_input_exits_2, split
from workflows.run.progress import make_console
from workflows.run.provision import provisioned
from workflows.run.site import Site

MOST_MEMBERS = 30
"""What the lab has addresses for."""
NOT_MEMBERS = 3
"""Relay, hypervisor and firewall."""
ALL_UP, SOME_FAILED = 0, 1


@click.command(help=__doc__)
@click.option("--scenario", "scenarios", required=True, help="comma-separated")
@click.option("--members", default="3,6,12,24", show_default=True, help="sizes of the mesh, comma-separated")
@click.option(
    "--repetitions", type=click.IntRange(1, 100), default=2, show_default=True, help="of every size"
)
@click.option("--seed", type=click.IntRange(0, 10**9), default=1, show_default=True, help="of the order")
@click.option("--out", type=click.Path(path_type=Path), default="growth", show_default=True, help="a folder")
@beside_option
@bad_input_exits_2
def main(scenarios: str, members: str, repetitions: int, seed: int, out: Path) -> None:
    """Parse, measure, and write; see the module's docstring."""
    sizes = parse_members(members, MOST_MEMBERS)
    chosen = [BUILT_IN.named(name, "--scenario") for name in split(scenarios)]
    if not chosen:
        raise InputError("--scenario", "names none", "names of scenarios, with commas")
    console = make_console()
    nr, testbed = load(f"lab-{max(sizes) + NOT_MEMBERS}")
    refuse_beside_cluster(testbed, "growth")
    site, steps = Site(nr, testbed, firewall=FirewallRun(run_of("growth", out))), list[GrowthStep]()
    asked = [(one, size, number) for one in chosen for size in sizes for number in range(1, repetitions + 1)]
    order = random.Random(seed).sample(asked, len(asked))  # noqa: S311 - an order that can be repeated
    with closing_connections(nr) as ended, lab_for(testbed, console):
        refuse_foreign(site)
        may_change(site, testbed.name, [of_lease(site)])
        with leased(site, site.firewall.run):
            for step in _steps(site, order, console):
                steps.append(step)
    if steps:
        _write(steps, out, console)
    sys.exit(ended.code or (SOME_FAILED if len(steps) < len(asked) else ALL_UP))


def _steps(site: Site, order: Sequence[tuple[Scenario, int, int]], console: Console) -> Iterator[GrowthStep]:
    """Every mesh that came up; one that did not is told, and is in no figure."""
    for scenario, size, number in order:
        try:
            step = grown(site, scenario, size, number)
        except InterruptedRunError:
            raise
        except VpnmeshError as error:
            console.print(
                f"{scenario.name:17} {size:3} members  FAILED {error}", highlight=False, markup=False
            )
            continue
        finally:
            for complaint in site.take_complaints():
                console.print(f"teardown: {complaint}", highlight=False, markup=False)
        console.print(
            f"{scenario.name:17} {size:3} members  {step.join_s:7.2f} s join  control plane {step.spent.cpu_s:6.2f} s "
            f"CPU, {step.spent.ram_mb:6.1f} MB, {step.spent.link_mb:7.3f} MB on its link",
            highlight=False,
        )
        yield step


def grown(site: Site, scenario: Scenario, members: int, repetition: int) -> GrowthStep:
    """Set up a mesh of that size and take it down; what the control plane spent is read once all paths are up."""
    smaller = replace(site, testbed=with_members(site.testbed, members))
    before = _usage(smaller)
    with provisioned(smaller, scenario) as deployed:
        cost = spent(before, _usage(smaller))
        return GrowthStep(scenario.name, members, repetition, deployed.join_s, cost)


def _usage(site: Site) -> Usage:
    node = site.testbed.control_plane
    found = run_on(site.nr, [node.name], tasks.run_command, argv=usage_argv(node.leg.interface))
    return parse_usage(str(found[node.name].result))


def _write(steps: Sequence[GrowthStep], out: Path, console: Console) -> None:
    # drawing needs matplotlib, whose import costs more than the rest: only where there is something to draw
    from vpnmesh.report import growth  # noqa: PLC0415

    frame = pl.DataFrame(rows(steps), schema=growth.SCHEMA).sort("scenario", "members", "repetition")
    said = growth.text(frame)
    try:
        out.mkdir(parents=True, exist_ok=True)
        frame.write_csv(out / "growth.csv")
        (out / "growth.svg").write_text(growth.figure(frame, BUILT_IN), encoding="utf-8")
        (out / "growth.txt").write_text(f"{said}\n", encoding="utf-8")
    except OSError as error:
        raise InputError("--out", f"{out} cannot be written: {error.strerror}") from error
    console.print(said, highlight=False, soft_wrap=True)
    console.print(f"written: {out}/growth.csv, growth.svg, growth.txt", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
