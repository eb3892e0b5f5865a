"""Find out whether a run would work, before it starts: this machine, every node, the inventory, and what is foreign.

Nothing is changed: nodes are read, features are tried in throw-away namespaces, full packets are pinged from node to
node. If no lab is up, one is brought up for this and taken down afterwards. Every finding that is not good says
what to do. Exit code 0 when a run would work (warnings included), 1 when it would fail, 2 for bad input.

\b
examples:
  python -m workflows.doctor                                        the lab
  python -m workflows.doctor --inventory my-testbed --json
  python -m workflows.doctor --scenarios headscale-direct,nebula-relay
  python -m workflows.doctor --cluster kubernetes                   also: can these nodes carry a cluster?
  python -m workflows.doctor --record-paths paths.json --inventory my-testbed   only the paths, for `lab up --like`
  python -m workflows.doctor --firewall --inventory my-testbed      only the firewall: its API against what is needed
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click
from nornir.core.inventory import Host
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inventory.load import load
from tasks.firewall.registry import driver_of
from vpnmesh.cluster import PODS, installer_named
from vpnmesh.doctor.finding import Check, Finding, Grade, fatal, good, joined, would_fail
from vpnmesh.doctor.paths import PINGS, ROUNDS, RecordedPaths
from vpnmesh.errors import InputError, VpnmeshError
from vpnmesh.model import Testbed
from vpnmesh.report.fidelity import loss_in_words, rtt_in_words
from workflows.run.addresses import refuse_controller
from workflows.run.health_checks import (
    CONTROLLER,
    Wanted,
    look_at_machine,
    look_at_nodes,
    refused_inventory,
)
from workflows.run.interrupts import InterruptedRunError, interruptible
from workflows.run.lab import emulated, lab_for
from workflows.run.options import MatrixOptions, bad_input_exits_2, scenario_file
from workflows.run.paths import record_paths, write_paths
from workflows.run.progress import make_console
from workflows.run.site import Site
from workflows.run.terminal import say

HEALTHY, ILL, BAD_INPUT = 0, 1, 2
_STYLES = {Grade.GOOD: "green", Grade.WARNING: "yellow", Grade.FATAL: "red"}


@click.command(help=__doc__)
@click.option(
    "--inventory",
    default="lab",
    show_default=True,
    help="a folder, a built-in one, netbox, or netbox:FILTERS",
)
@click.option(
    "--scenarios",
    help="comma-separated; those that must be possible; default: those of --scenario-file, else the quick profile's,"
    " of which a missing one is a warning",
)
@scenario_file
@click.option("--cluster", help="also look whether these nodes can carry a cluster of that installer")
@click.option("--json", "as_json", is_flag=True, help="only a JSON list of findings on stdout")
@click.option(
    "--record-paths",
    "paths_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="only ping between all nodes, in rounds, and write round trips and loss into FILE",
)
@click.option("--firewall", "firewall", is_flag=True, help="look only at the firewall's API")
@bad_input_exits_2
def main(
    inventory: str,
    *,
    scenarios: str | None,
    scenario_files: tuple[str, ...],
    cluster: str | None,
    as_json: bool,
    paths_file: Path | None,
    firewall: bool,
) -> None:
    """Parse, look, show."""
    options = MatrixOptions(scenarios=scenarios, scenario_files=scenario_files)
    known = options.known()
    installer = None if cluster in (None, PODS) else installer_named(str(cluster))
    asked = bool(scenarios or scenario_files)
    wanted = Wanted(inventory, options.build(known).scenarios, known.catalogue, asked, installer)
    try:
        nr, testbed = load(inventory)
        refuse_controller(testbed, nr.inventory.hosts)
    except InputError as error:
        if as_json:
            show([refused_inventory(error, inventory)], [], as_json=True)
            sys.exit(BAD_INPUT)
        raise
    if firewall:
        sys.exit(look_at_firewall(nr.inventory.hosts[testbed.firewall.name]))
    try:
        with interruptible(nr):
            if paths_file is not None:
                sys.exit(look_at_paths(Site(nr, testbed), paths_file))
            found = examine(Site(nr, testbed), wanted)
    except InterruptedRunError as interrupt:
        sys.exit(128 + interrupt.signum)
    show(found, [node.name for node in testbed.nodes], as_json=as_json)
    sys.exit(ILL if would_fail(found) else HEALTHY)


def examine(site: Site, wanted: Wanted) -> list[Finding]:
    """All findings; a lab is brought up for them if none is."""
    bed = site.testbed
    found = [good(Check.INVENTORY, wanted.inventory, _described(bed)), *look_at_machine(bed)]
    try:
        with lab_for(bed, Console(stderr=True), kubernetes=wanted.installer is not None):
            found += look_at_nodes(site, wanted)
    except VpnmeshError as error:
        do = "docs/lab.md says what a lab needs" if emulated(bed) else "look at the node, then ask again"
        found.append(fatal(Check.MACHINE, CONTROLLER, str(error), do))
    finally:
        site.nr.close_connections()
    return found


def _described(testbed: Testbed) -> str:
    return f"valid: {len(testbed.nodes)} nodes in {len(testbed.vlans)} VLANs"


def show(findings: Iterable[Finding], everywhere: list[str], *, as_json: bool) -> None:
    """As JSON one object per node and finding; as a table the same finding of several nodes is one row."""
    found = list(findings)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    table = Table("", "check", "where", "found", "what to do")
    for one in joined(found, everywhere):
        grade = Text(one.grade, style=_STYLES[one.grade])
        table.add_row(grade, one.check, one.where, one.said, one.do)
    make_console().print(table)
    count = sum(one.grade is Grade.FATAL for one in found)
    click.echo(f"a run would fail: {count} findings are fatal" if count else "a run can start")


def look_at_paths(site: Site, path: Path) -> int:
    """Record the paths between all nodes and show them; the exit code."""
    try:
        with lab_for(site.testbed, Console(stderr=True)):
            found, failed = record_paths(site)
    finally:
        site.nr.close_connections()
    write_paths(found, path)
    make_console().print(path_table(found))
    for error in failed.values():
        say(f"not asked: {error}", err=True)
    say(f"{path}: {len(found.paths)} paths, {ROUNDS} rounds of {PINGS} pings each")
    return ILL if failed else HEALTHY


def path_table(found: RecordedPaths) -> Table:
    """A row per path: the typical round trip with the 95 % interval of its mean, and the loss with its own."""
    table = Table("path", "round trip, ms", "loss, %", "pings", title=found.testbed)
    for path in found.paths:
        table.add_row(" - ".join(path.ends), rtt_in_words(path), loss_in_words(path), str(path.sent))
    return table


def look_at_firewall(host: Host) -> int:
    """Show line by line what the firewall's driver will find; the exit code."""
    driver = driver_of(host)
    click.echo(f"{host.name}: driver {driver.name}")
    if driver.examine is None:
        click.echo("nothing to compare: this driver uses no API")
        return HEALTHY
    code = HEALTHY
    for remark in driver.examine(host):
        say(remark.text)
        code = ILL if remark.fatal else code
    return code


if __name__ == "__main__":
    main()
