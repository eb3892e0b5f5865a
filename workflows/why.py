"""Find out why the path between two nodes is down, relayed or slow: findings, each with its evidence and a way out.

Nothing is changed: nodes are read, and send each other probes for some seconds. Looked at are UDP in both directions,
the kind of NAT at each end, relay, STUN and control plane, which addresses were tried and which interface was taken,
where a large packet dies, offloads, receive buffers, processors, clocks, and which firewall rule dropped something.

The mesh is the one that stands; --set-up sets a scenario up for it and removes it again. --try applies what can be
fixed, looks again, and takes the fixes back.

Exit codes: 0 nothing found, 1 something found, 2 bad input.

\b
examples:
  python -m workflows.why worker1 worker2                                  the mesh that stands
  python -m workflows.why worker1 worker2 --set-up --scenario headscale-direct
  python -m workflows.why worker1 worker2 --inventory my-testbed --json
  python -m workflows.why worker1 worker2 --try --dry-run                  what would be tried
  python -m workflows.why worker1 worker2 --try
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import contextlib
import json
import sys
from collections.abc import Iterator

import click
from rich.console import Console

from inventory.load import load
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.lab.lifecycle import find
from vpnmesh.model import Pair, Scenario
from vpnmesh.solutions.protocol import Mesh, Solution
from vpnmesh.why.words import Diagnosis, compared, diagnosis_record, lines, plan_lines
from workflows.run.agreement import may_change, yes_option
from workflows.run.asked_mesh import mesh_set_up, mesh_that_stands, scenario_that_stands
from workflows.run.cluster_record import refuse_beside_cluster
from workflows.run.diagnosing import why
from workflows.run.foreign import beside_option, refuse_foreign
from workflows.run.intents import of_lease, of_scenario
from workflows.run.interrupts import closing_connections
from workflows.run.lab import emulated, lab_for
from workflows.run.lease import leased
from workflows.run.options import KnownScenarios, bad_input_exits_2, scenario_file
from workflows.run.site import Site
from workflows.run.terminal import say
from workflows.run.trying import fixes_intent, tried

HEALTHY, FOUND = 0, 1
RUN = "why"
"""The run that leases and changes are made for."""


@click.command(help=__doc__)
@click.argument("client")
@click.argument("server")
@click.option(
    "--inventory",
    default="lab",
    show_default=True,
    help="a built-in one, a folder, netbox, or netbox:FILTERS",
)
@click.option("--scenario", help="what the mesh is; default: the first direct one of the VPN that stands")
@scenario_file
@click.option("--set-up", is_flag=True, help="set --scenario up for this, and remove it afterwards")
@click.option("--try", "trying", is_flag=True, help="apply what can be fixed, look again, and take it back")
@click.option("--json", "as_json", is_flag=True, help="only JSON on stdout; with --try the rest on stderr")
@beside_option
@yes_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="with --try: show what would be changed, and change nothing",
)
@bad_input_exits_2
def main(  # noqa: PLR0913 - click hands over each option by itself
    client: str,
    server: str,
    *,
    inventory: str,
    scenario: str | None,
    scenario_files: tuple[str, ...],
    set_up: bool,
    trying: bool,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Parse, look, show; see the module's docstring."""
    known = KnownScenarios.of_files(scenario_files)
    chosen = known.catalogue.named(scenario, "--scenario") if scenario else None
    if set_up and chosen is None:
        raise InputError("--set-up", "does not say which scenario", "add --scenario NAME")
    if dry_run and (set_up or not trying):
        raise InputError(
            "--dry-run", "is of --try on a mesh that stands", "add --try, and leave --set-up out"
        )
    site = Site(*load(inventory))
    pair = _pair(site, client, server)
    code = HEALTHY
    try:
        with (
            closing_connections(site.nr) as ended,
            _asked(site, inventory, known, chosen, pair, set_up=set_up) as (solution, mesh),
        ):
            found = why(site, solution, mesh, pair)
            _show(found, as_json=as_json)
            code = HEALTHY if found.healthy else FOUND
            if trying and _planned(found, dry_run=dry_run, err=as_json):
                _try(site, inventory, (solution, mesh), found, held=set_up, err=as_json)
        code = ended.code or code
    finally:
        for complaint in site.take_complaints():
            say(f"not taken back: {complaint}", err=True)
            code = code or FOUND
    sys.exit(code)


def _pair(site: Site, client: str, server: str) -> Pair:
    for name in (client, server):
        if name not in site.k8s:
            raise UnknownNameError("CLIENT SERVER", "member", name, site.k8s)
    if client == server:
        raise InputError("CLIENT SERVER", f"{client} twice", "name two members")
    return Pair(client, server)


@contextlib.contextmanager
def _asked(
    site: Site, inventory: str, known: KnownScenarios, chosen: Scenario | None, pair: Pair, *, set_up: bool
) -> Iterator[tuple[Solution, Mesh]]:
    """The mesh that is asked about, as long as this lasts."""
    if not (set_up and chosen):
        if emulated(site.testbed) and find() is None:
            raise InputError(
                f"--inventory {inventory}", "no lab is up", "vpnmesh lab up, or --set-up --scenario NAME"
            )
        yield mesh_that_stands(site, chosen or scenario_that_stands(site, known.catalogue, pair.client))
        return
    refuse_beside_cluster(site.testbed, f"--inventory {inventory}")
    with lab_for(site.testbed, Console(stderr=True)):
        refuse_foreign(site)
        may_change(site, inventory, [of_lease(site), of_scenario(site, chosen)])
        with leased(site, RUN):
            say(f"setting up {chosen.name}", err=True)
            with mesh_set_up(site, chosen) as standing:
                yield standing


def _show(found: Diagnosis, *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(diagnosis_record(found), indent=1))
        return
    for line in lines(found):
        say(line)


def _planned(found: Diagnosis, *, dry_run: bool, err: bool) -> bool:
    """Show the plan, on stderr beside JSON; returns whether it is to be carried out."""
    plan = plan_lines(found.findings)
    if not plan:
        say("nothing of this can be tried by itself", err=err)
        return False
    for line in ("to be tried, and taken back:", *(f"  {one}" for one in plan)):
        say(line, err=err)
    if dry_run:
        say("nothing was changed", err=err)
    return not dry_run


def _try(
    site: Site, inventory: str, asked: tuple[Solution, Mesh], found: Diagnosis, *, held: bool, err: bool
) -> None:
    """Carry the plan out, look again, take it back, and say what became of it."""
    may_change(site, inventory, [fixes_intent(found.findings)])
    trial = tried(site, *asked, found.findings, set_up=held)
    with contextlib.nullcontext() if held else leased(site, RUN), trial:
        after = why(site, *asked, found.pair)
    for line in compared(found, after):
        say(line, err=err)


if __name__ == "__main__":
    main()
