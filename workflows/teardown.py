r"""Leave nodes as they were: lift every impairment, pod network, mesh and firewall policy of ours.

A run does this by itself, also after Ctrl-C; this is for what a kill -9 or a power cut left on real machines.

\b
examples:
  python -m workflows.teardown --inventory my-testbed             clean everything of ours
  python -m workflows.teardown --inventory my-testbed --dry-run   show what would go
"""

import sys

import click

import tasks
from inventory.testbed import load
from vpnmesh.errors import UnavailableError, VpnmeshError
from vpnmesh.firewall.policy import policy_named
from vpnmesh.impairment.engine import every_target
from vpnmesh.scenarios import SCENARIOS
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh
from workflows.hosts import run_on
from workflows.impair import choose_engine
from workflows.options import bad_input_exits_2
from workflows.provision import Site


@click.command(help=__doc__)
@click.option(
    "--inventory", default="lab", show_default=True, help="a built-in inventory, or a folder with hosts.yaml"
)
@click.option("--dry-run", is_flag=True, help="show what would be removed, and remove nothing")
@bad_input_exits_2
def main(*, inventory: str, dry_run: bool) -> None:
    """Clean all nodes; exit code 1 if something could not be cleaned."""
    site = Site(*load(inventory))
    failed = False
    for what, host, changed, diff in sweep(site, dry_run=dry_run):
        if changed is None:
            failed = True
            click.echo(f"{what}: {diff}", err=True)
        elif changed:
            click.echo(f"{host}: {what}: {'would be removed' if dry_run else 'removed'}\n{diff}")
    if failed:
        sys.exit(1)
    click.echo("nothing of vpnmesh is left" if not dry_run else "nothing was changed")


def sweep(site: Site, *, dry_run: bool) -> list[tuple[str, str, bool | None, str]]:
    """Clean everything on every node: (what, host, changed, diff); changed None where it failed, diff the reason."""
    bed, nr = site.testbed, site.nr
    found: list[tuple[str, str, bool | None, str]] = []

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
    else:
        targets = every_target(engine, bed, bed.pairs[0])
        nodes = list(dict.fromkeys(target.node for target in targets))
        attempt("impairments", nodes, tasks.clear_impairment, engine=engine, targets=targets)
    attempt("pod network", site.k8s, tasks.detach_pods)
    for solution in SOLUTIONS.values():
        scenario = next(one for one in SCENARIOS if one.solution == solution.name)
        mesh = Mesh(bed, scenario)
        attempt(solution.name, site.all_nodes, tasks.leave_mesh, solution=solution, mesh=mesh)
    allow = policy_named("allow-all")
    attempt("firewall policy", [bed.firewall.name], tasks.set_firewall_policy, policy=allow, testbed=bed)
    return found


if __name__ == "__main__":
    main()
