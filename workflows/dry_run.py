"""What a run would change on every node, as diffs; nothing is changed."""

from rich.console import Console
from rich.syntax import Syntax

import tasks
from vpnmesh.errors import UnavailableError
from vpnmesh.firewall.policy import policy_named
from vpnmesh.matrix import MatrixPlan, scenarios_of
from vpnmesh.model import Scenario
from vpnmesh.solutions.protocol import Mesh
from workflows.hosts import run_on
from workflows.provision import Site, require


def show_changes(console: Console, site: Site, plan: MatrixPlan) -> None:
    """Print the diff that each scenario would make on each node."""
    for scenario in scenarios_of(plan):
        console.rule(scenario.name, align="left")
        try:
            for host, diff in _changes(site, scenario):
                console.print(f"[bold]{host}[/bold]")
                console.print(Syntax(diff, "diff", background_color="default"))
        except UnavailableError as error:
            console.print(f"unavailable: {error}")


def _changes(site: Site, scenario: Scenario) -> list[tuple[str, str]]:
    solution = require(site, scenario)
    policy = policy_named(scenario.policy)
    firewall = site.testbed.firewall.name
    found = run_on(
        site.nr, [firewall], tasks.set_firewall_policy, policy=policy, testbed=site.testbed, dry_run=True
    )
    diffs = [(host, str(result.diff)) for host, result in found.items()]
    # keys that do not exist yet show as words
    mesh = Mesh(site.testbed, scenario, dry_run=True)
    for stage in solution.stages(mesh):
        results = run_on(site.nr, stage.nodes, tasks.join_stage, mesh=mesh, stage=stage, dry_run=True)
        diffs += [(host, str(result.diff)) for host, result in results.items()]
    return [(host, diff) for host, diff in diffs if diff]
