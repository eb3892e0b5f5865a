"""Which path does each VPN find between nodes behind two kinds of NAT? A grid of cells, one picture per solution.

Each solution is deployed once; for every pair of kinds its two ends are stopped, put behind routers of these kinds on
the firewall, and started again. A kind counts only once probes through it have shown that it is that kind. Written are
cells.jsonl (a line per cell, as it ends), SOLUTION.svg, grid.md, and the packets' headers of every cell that is not
direct. The same --out goes on with what is missing there.

Exit codes: 0 every cell was measured, 1 some could not be proven or measured, 2 bad input, 130 Ctrl-C.

\b
examples:
  python -m workflows.nat_grid --plan
  python -m workflows.nat_grid --solutions headscale --kinds none,port-restricted,symmetric,udp-blocked
  python -m workflows.nat_grid --solutions headscale,nebula --pairs 'full-cone>symmetric,symmetric>symmetric'
  python -m workflows.nat_grid --out nat-grid        go on with what is missing
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.console import Console

from inventory.load import load
from vpnmesh.errors import InputError, UnavailableError, VpnmeshError
from vpnmesh.firewall.nat_kinds import NatKind, kind_named
from vpnmesh.model import Testbed
from vpnmesh.reference.nat_promises import product_named, products
from vpnmesh.solutions import solution_named
from vpnmesh.study.nat_grid import Found, NatPair, NatRecord, estimate_s, pairs_of
from vpnmesh.study.scenarios import BUILT_IN
from workflows.run.agreement import may_change, yes_option
from workflows.run.cluster_record import refuse_beside_cluster
from workflows.run.disk import DiskError
from workflows.run.firewall import FirewallRun, run_of
from workflows.run.foreign import beside_option, refuse_foreign
from workflows.run.intents import of_lease, of_nat_kinds, of_scenario
from workflows.run.interrupts import InterruptedRunError, closing_connections
from workflows.run.lab import lab_for
from workflows.run.lease import leased
from workflows.run.measured_hosts import MeasuredHosts
from workflows.run.nat import refuse_cut_off, refuse_without_router
from workflows.run.nat_grid import deployed, measure_cell, unavailable
from workflows.run.nat_grid_files import GridFiles
from workflows.run.options import bad_input_exits_2, split
from workflows.run.progress import make_console
from workflows.run.site import Site

ALL_MEASURED, SOME_NOT = 0, 1


@dataclass(frozen=True, slots=True)
class Asked:
    """Which pairs of which solutions."""

    solutions: tuple[str, ...]
    pairs: tuple[NatPair, ...]

    def missing(self, done: Mapping[tuple[str, NatPair], NatRecord]) -> dict[str, tuple[NatPair, ...]]:
        """What is not yet known, by solution; a cell that says nothing of the solution is tried again."""
        return {
            name: tuple(pair for pair in self.pairs if not _known(done.get((name, pair))))
            for name in self.solutions
        }


@click.command(help=__doc__)
@click.option("--solutions", help="comma-separated; default: all of the grid")
@click.option("--kinds", help="kinds of NAT, comma-separated, of which every pair is taken; default: all")
@click.option("--pairs", help="CLIENT>SERVER, comma-separated, instead of every pair of kinds")
@click.option(
    "--inventory",
    default="lab",
    show_default=True,
    help="a built-in one, a folder, netbox, or netbox:FILTERS",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default="nat-grid", show_default=True, help="a folder"
)
@click.option("--plan", "only_plan", is_flag=True, help="show cells and expected minutes, and change nothing")
@yes_option
@beside_option
@bad_input_exits_2
def main(
    *,
    solutions: str | None,
    kinds: str | None,
    pairs: str | None,
    inventory: str,
    out: Path,
    only_plan: bool,
) -> None:
    """Parse, measure what is missing, and write; see the module's docstring."""
    asked = Asked(_solutions(solutions), _pairs(kinds, pairs))
    nr, testbed = load(inventory)
    hosts = MeasuredHosts.of(inventory, testbed, run_of("nat-grid", out))
    hosts.refuse_others(out, "--out")
    files, console = GridFiles(out), make_console()
    missing = asked.missing(files.read())
    show_plan(console, asked, missing)
    if only_plan:
        return
    refuse_beside_cluster(testbed, "nat_grid")
    site = Site(nr, testbed, firewall=FirewallRun.of(out, run_of("nat-grid", out)))
    ipv6 = any(pair.needs_ipv6 for wanted in missing.values() for pair in wanted)
    scenarios = [BUILT_IN.named(product_named(name).scenario) for name in asked.solutions]
    intents = [of_lease(site), of_nat_kinds(site, ipv6=ipv6), *(of_scenario(site, one) for one in scenarios)]
    files = replace(files, secrets=site.secrets)
    refuse_without_router(site)
    refuse_cut_off(testbed, _hidden(testbed, missing))
    files.prepare()
    try:
        with closing_connections(nr) as ended, lab_for(testbed, console):
            refuse_foreign(site)
            may_change(site, inventory, intents)
            with leased(site, site.firewall.run):
                hosts.keep(out)
                for name, wanted in missing.items():
                    measure(site, name, wanted, files, console)
    finally:
        for complaint in site.take_complaints():
            console.print(f"left: {complaint}", highlight=False)
    done = files.read()
    files.write_pictures(done)
    console.print(files.summary(done), highlight=False, soft_wrap=True)
    failed = any(_failed(done.get((name, pair))) for name in asked.solutions for pair in asked.pairs)
    sys.exit(ended.code or (SOME_NOT if failed else ALL_MEASURED))


def measure(site: Site, name: str, pairs: Sequence[NatPair], files: GridFiles, console: Console) -> None:
    """All of these cells of one solution; a solution that cannot be deployed is said, and the next one goes on.

    Where an end has IPv6 alone the others have it, too: then the solution is deployed anew, on an underlay of both.
    """
    for ipv6 in (False, True):
        if alike := [pair for pair in pairs if pair.needs_ipv6 is ipv6]:
            _measure_alike(site, name, alike, files, console, ipv6=ipv6)


def _measure_alike(
    site: Site, name: str, pairs: Sequence[NatPair], files: GridFiles, console: Console, *, ipv6: bool
) -> None:
    scenario = BUILT_IN.named(product_named(name).scenario)
    try:
        with deployed(site, name, scenario, ipv6=ipv6) as grid:
            for number, pair in enumerate(pairs, 1):
                record = measure_cell(grid, pair, files.keeper(name))
                kept = files.add(record)
                console.print(f"{number:3}/{len(pairs)} {told(kept)}", highlight=False)
    except (InterruptedRunError, DiskError):
        raise
    except UnavailableError as error:
        console.print(f"{name}: unavailable: {error}", highlight=False)
        for pair in pairs:
            files.add(unavailable(name, scenario, pair, str(error)))
    except VpnmeshError as error:
        console.print(f"{name}: could not be deployed: {error}", highlight=False)
    finally:
        for file, text in site.take_logs().items():
            files.keep_log(name, file, text)


def told(record: NatRecord) -> str:
    """A cell as a line of progress."""
    figures = [
        f"first packet {record.first_packet_s:.1f} s" if record.first_packet_s is not None else "",
        f"direct {record.direct_s:.1f} s" if record.direct_s is not None else "",
        f"{record.rate_mbit_s:.0f} Mbit/s" if record.rate_mbit_s is not None else "",
        f"{len(record.tries)} tries: {', '.join(record.tries)}" if record.tries else "",
        record.reason,
    ]
    return f"{record.solution:10} {record.pair!s:38} {record.found:12} {', '.join(one for one in figures if one)}"


def show_plan(console: Console, asked: Asked, missing: Mapping[str, Sequence[NatPair]]) -> None:
    """How many cells, and how long that may take."""
    total_s = 0.0
    for name, pairs in missing.items():
        relays = solution_named(name).fallback_s is not None
        seconds = estimate_s(pairs, relays=relays) if pairs else 0.0
        total_s += seconds
        scenario = product_named(name).scenario
        done = len(asked.pairs) - len(pairs)
        console.print(
            f"{name:10} {len(pairs):3} cells ({done} done before), scenario {scenario}, about {seconds / 60:.0f} min",
            highlight=False,
        )
    console.print(
        f"in all about {total_s / 60:.0f} min; pairs: {', '.join(map(str, asked.pairs))}", highlight=False
    )


def _known(record: NatRecord | None) -> bool:
    """Whether a cell need not be tried again; where a program was missing it may be there now."""
    return record is not None and record.counts


def _failed(record: NatRecord | None) -> bool:
    """Whether a cell was not measured, though it could be: a program may be missing.

    What IPv6 is wanted for may be beyond a product; then it is no failure of this run.
    """
    if record is None:
        return True
    beyond = record.found is Found.UNAVAILABLE and record.pair.needs_ipv6
    return not record.counts and not beyond


def _hidden(testbed: Testbed, missing: Mapping[str, Sequence[NatPair]]) -> Iterator[str]:
    """The nodes that are put behind NAT in any of these cells."""
    pairs, ends = {pair for wanted in missing.values() for pair in wanted}, testbed.pairs[0]
    if any(pair.client is not NatKind.NONE for pair in pairs):
        yield ends.client
    if any(pair.server is not NatKind.NONE for pair in pairs):
        yield ends.server


def _solutions(listed: str | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(split(listed))) if listed is not None else tuple(products())
    if not names:
        raise InputError("--solutions", "names none", f"known are: {', '.join(products())}")
    for name in names:
        product_named(name)
    return names


def _pairs(kinds: str | None, pairs: str | None) -> tuple[NatPair, ...]:
    if kinds is not None and pairs is not None:
        raise InputError("--pairs", "stands beside --kinds", "name kinds, or pairs of kinds")
    if pairs is not None:
        found = tuple(dict.fromkeys(NatPair.parse(one) for one in split(pairs)))
    else:
        found = pairs_of([kind_named(one) for one in split(kinds)] if kinds is not None else list(NatKind))
    if not found:
        raise InputError(
            "--pairs" if pairs is not None else "--kinds", "names none", "for example none,symmetric"
        )
    return found


if __name__ == "__main__":
    main()
