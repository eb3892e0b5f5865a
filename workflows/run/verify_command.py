"""`workflows.criteria --verify`: a testbed for the checks, their plan, the agreement of its owner, and the table."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inventory.load import load
from vpnmesh.criteria.catalogue import CriteriaCatalogue, Value
from vpnmesh.criteria.checks import NOT_LIVE
from vpnmesh.criteria.observation import Check
from vpnmesh.criteria.verified import Verification, side_by_side, statements_block
from vpnmesh.errors import UnknownNameError
from vpnmesh.model import Scenario
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.changes import Change, ChangeKind
from vpnmesh.study.scenarios import BUILT_IN
from workflows.reporting.verifications import prepare, write_pages
from workflows.run.agreement import Intent, may_change
from workflows.run.cluster_record import refuse_beside_cluster
from workflows.run.firewall import FirewallRun, run_of
from workflows.run.foreign import refuse_foreign
from workflows.run.intents import SYSCTLS, of_lease, of_nat_kinds, of_scenario
from workflows.run.interrupts import closing_connections
from workflows.run.lab import lab_for
from workflows.run.lease import leased
from workflows.run.measured_hosts import MeasuredHosts
from workflows.run.progress import make_console
from workflows.run.site import Site
from workflows.run.terminal import say
from workflows.run.verification import EvidenceFolder, verify

_COLOURS = {Value.MET: "green", Value.UNMET: "red", Value.UNKNOWN: "yellow"}


def known_solution(name: str) -> str:
    """The name of a VPN that can be verified; UnknownNameError lists them."""
    vpns = [one for one, solution in SOLUTIONS.items() if solution.is_vpn]
    if name not in vpns:
        raise UnknownNameError("--verify", "solution", name, vpns)
    return name


def show_plan(solution: str, checks: Sequence[Check]) -> None:
    """What would be checked, how, and on which scenarios; nothing is touched."""
    for check in checks:
        say(f"{check.id}: {check.title}\n  asks: {check.asks}\n  control: {check.control}")
    say(f"scenarios of {solution}: {', '.join(one.name for one in _scenarios(solution))}")
    for topic, why in NOT_LIVE.items():
        say(f"{topic}: not checked: {why}")


def verify_on(
    inventory: str, solution: str, checks: Sequence[Check], out: Path, hold_s: float, known: CriteriaCatalogue
) -> int:
    """Make the checks on that testbed, and show and write what came of them; the exit code."""
    console = make_console()
    nr, testbed = load(inventory)
    refuse_beside_cluster(testbed, f"--inventory {inventory}")
    folder = out / solution
    site = Site(nr, testbed, firewall=FirewallRun.of(folder, run_of("verify", out, solution)))
    hosts, found = MeasuredHosts.of(inventory, testbed, site.firewall.run), None
    hosts.refuse_others(folder, "--out")
    prepare(out, solution)
    with closing_connections(nr) as ended, lab_for(testbed, console):
        refuse_foreign(site)
        may_change(site, inventory, _intents(site, solution))
        with leased(site, site.firewall.run):
            hosts.keep(folder)
            found = verify(
                site,
                BUILT_IN,
                solution,
                checks,
                lambda text: console.print(text, highlight=False, soft_wrap=True),
                EvidenceFolder(folder, site),
                hold_s=hold_s,
            )
    if found is None:
        console.print(f"interrupted; what was found so far: {folder}", highlight=False)
        return ended.code
    write_pages(known, found, out)
    show(console, known, found)
    console.print(f"evidence, report.html and statements.yaml: {folder}", highlight=False, soft_wrap=True)
    return ended.code


def show(console: Console, known: CriteriaCatalogue, found: Verification) -> None:
    """Claimed beside verified, and the YAML that can be added to the VPN's statements."""
    title = f"{found.solution} ({found.version}), {found.date.isoformat()}, on {found.testbed}"
    grid = Table("criterion", "claimed", "verified", "why", title=title, title_justify="left")
    for line in side_by_side(known, found):
        grid.add_row(line.title, _word(line.claimed), _word(line.verified), Text(line.reason))
    console.print(grid)
    if known.product(found.solution) is None:
        console.print(f"nobody has stated anything of {found.solution}: there is nothing to add this to")
        return
    console.print("to be added to its file of statements (docs/criteria.md):", highlight=False)
    sys.stdout.write(statements_block(known, found))


def _word(value: Value) -> Text:
    return Text(str(value), style=_COLOURS[value])


def _scenarios(solution: str) -> tuple[Scenario, ...]:
    return tuple(one for one in BUILT_IN.scenarios if one.solution == solution and not one.program_folder)


def _intents(site: Site, solution: str) -> list[Intent]:
    baseline = BUILT_IN.named(BUILT_IN.baselines[0])
    return [
        of_lease(site),
        of_nat_kinds(site),
        *(of_scenario(site, one) for one in (*_scenarios(solution), baseline)),
        Intent(f"live checks of {solution}", lambda: _own_changes(site)),
    ]


def _own_changes(site: Site) -> Iterator[Change]:
    """What the checks do beside scenarios."""
    for name in site.k8s:
        yield Change(ChangeKind.SYSCTLS, name, SYSCTLS)
        yield Change(
            ChangeKind.INTERFACES, name, "for a while a network behind it, and a default route if it has none"
        )
        yield Change(ChangeKind.PROCESSES, name, "the VPN's programs killed and started again")
    for policy in ("block-udp", "tcp-443-only"):
        yield Change(ChangeKind.FIREWALL, site.testbed.firewall.name, f"policy {policy}")
