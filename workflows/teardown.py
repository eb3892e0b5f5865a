"""Leave nodes as they were: lift every impairment, pod network, mesh and firewall policy of ours.

A run does this by itself, also after Ctrl-C; this is for what a kill -9 or a power cut left on real machines.
RUN is a run's directory (its inventory is taken), or the id that `workflows.firewall set --run` was given. Works
again and again; exit code 0 when nothing is left, 1 when something could not be taken away.

\b
examples:
  python -m workflows.teardown --run runs/20260101-120000          what that run left
  python -m workflows.teardown --inventory my-testbed              clean everything of ours
  python -m workflows.teardown --inventory my-testbed --dry-run    show what would go
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import sys
from pathlib import Path

import click

import tasks
from inventory.load import load
from vpnmesh.errors import UnavailableError, VpnmeshError
from vpnmesh.firewall.policy import policy_named
from vpnmesh.impairment.engine import every_target
from vpnmesh.model import Path as Way
from vpnmesh.model import Scenario
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh
from workflows.run import firewall, provenance
from workflows.run.firewall import FirewallRun
from workflows.run.hosts import run_on
from workflows.run.impair import choose_engine
from workflows.run.options import bad_input_exits_2
from workflows.run.provision import Site
from workflows.run.store import RunFiles

CLEAN, NOT_CLEAN = 0, 1


@click.command(help=__doc__)
@click.option("--run", "run", help="a run's directory, or its id")
@click.option(
    "--inventory", help="a built-in inventory, or a folder with hosts.yaml; default: the run's own, else lab"
)
@click.option("--dry-run", is_flag=True, help="show what would be removed, and remove nothing")
@bad_input_exits_2
def main(*, run: str | None, inventory: str | None, dry_run: bool) -> None:
    """Clean all nodes."""
    mark, name = _found(run) if run else (None, "lab")
    site = Site(*load(inventory or name))
    found = sweep(site, mark, dry_run=dry_run)
    for what, host, changed, diff in found:
        if changed is None:
            click.echo(f"{what}: {diff}", err=True)
        elif changed:
            click.echo(f"{host}: {what}: {'would be removed' if dry_run else 'removed'}\n{diff}".rstrip())
    if any(changed is None for _, _, changed, _ in found):
        sys.exit(NOT_CLEAN)
    click.echo("nothing was changed" if dry_run else "nothing of vpnmesh is left")
    sys.exit(CLEAN)


def _found(run: str) -> tuple[FirewallRun, str]:
    """Whose changes, and in which inventory."""
    directory = Path(run)
    if not (directory / "manifest.json").exists():
        return FirewallRun(run), "lab"
    asked = provenance.read_request(RunFiles(directory).manifest(), run)
    return FirewallRun.of(directory), asked.inventory


def _roll_back(site: Site, mark: FirewallRun) -> "Finding":
    try:
        anything = firewall.roll_back(site.nr, site.testbed, mark)
    except VpnmeshError as error:
        return ("firewall", "", None, str(error))
    return (f"changes of run {mark.run}", site.testbed.firewall.name, anything, "")


def _any_scenario(solution: str) -> Scenario:
    """A scenario of the solution: what is left behind depends on none, but a mesh has one."""
    return Scenario(solution, solution, Way.DIRECT, pod_mtu=1230, tunnel_mtu=1280, policy="allow-all")


Finding = tuple[str, str, bool | None, str]
"""What, on which host, whether it was (or would be) removed, and the diff; None with the reason where it failed."""


def sweep(site: Site, mark: FirewallRun | None = None, *, dry_run: bool) -> list[Finding]:
    """Clean everything on every node; `mark` is the run whose firewall changes are rolled back."""
    bed, nr = site.testbed, site.nr
    found: list[Finding] = []

    def attempt(what: str, names: list[str], task: object, **parameters: object) -> None:
        try:
            results = run_on(nr, names, task, dry_run=dry_run, **parameters)  # type: ignore[arg-type]
        except VpnmeshError as error:
            found.append((what, "", None, str(error)))
            return
        found.extend((what, host, bool(result.changed), str(result.diff)) for host, result in results.items())

    try:
        engine = choose_engine(site)
    except UnavailableError as error:
        found.append(("impairments", "", False, str(error)))
    except VpnmeshError as error:
        # a node that does not answer must not keep the others, and the firewall, as they are
        found.append(("impairments", "", None, str(error)))
    else:
        targets = every_target(engine, bed, bed.pairs[0])
        nodes = list(dict.fromkeys(target.node for target in targets))
        attempt("impairments", nodes, tasks.clear_impairment, engine=engine, targets=targets)
    attempt("pod network", site.k8s, tasks.detach_pods)
    for solution in SOLUTIONS.values():
        mesh = Mesh(bed, _any_scenario(solution.name))
        attempt(solution.name, site.all_nodes, tasks.leave_mesh, solution=solution, mesh=mesh)
    if mark is not None and not dry_run:
        return [*found, _roll_back(site, mark)]
    whose, allow = mark or FirewallRun(), policy_named("allow-all")
    attempt(
        "firewall policy",
        [bed.firewall.name],
        tasks.set_firewall_policy,
        policy=allow,
        testbed=bed,
        run=whose.run,
        journal=whose.journal,
    )
    return found


if __name__ == "__main__":
    main()
