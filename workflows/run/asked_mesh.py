"""Which mesh a diagnosis is about: the one that stands, or a scenario that is set up for it whatever its path is."""

import contextlib
from collections.abc import Iterator

import tasks
from vpnmesh.errors import InputError, VpnmeshError
from vpnmesh.model import Path, Scenario
from vpnmesh.solutions import SOLUTIONS, solution_named
from vpnmesh.solutions.protocol import Mesh, Solution
from vpnmesh.stages import stages_of
from vpnmesh.study.scenarios import Catalogue
from workflows.run.deploying import run_stages
from workflows.run.diagnosing import standing
from workflows.run.hosts import run_on
from workflows.run.provision import attach, await_mesh, firewall_policy, mesh_statuses, take_off
from workflows.run.requirements import require
from workflows.run.site import Site
from workflows.run.undoing import promise

READY_S = 30.0
"""How long a mesh that is set up for a diagnosis may take to its wanted path, before it is asked why not."""


def scenario_that_stands(site: Site, catalogue: Catalogue, client: str) -> Scenario:
    """The first direct scenario of the solution whose interface the client has; InputError where it has none."""
    named = {one.interfaces[0]: one.name for one in SOLUTIONS.values() if one.is_vpn and one.interfaces}
    there = run_on(site.nr, [client], tasks.read_tunnels, interfaces=tuple(named))[client].result
    solutions = {named[name] for name in there}
    for name in catalogue.names:
        scenario = catalogue.named(name)
        if scenario.solution in solutions and scenario.path is Path.DIRECT:
            return scenario
    way_out = "--set-up --scenario NAME sets one up for the diagnosis, or let one stand: vpnmesh cluster up"
    raise InputError(client, "none of vpnmesh's VPNs stands there", way_out)


def mesh_that_stands(site: Site, scenario: Scenario) -> tuple[Solution, Mesh]:
    """The mesh as its members tell it."""
    solution = solution_named(scenario.solution)
    return solution, standing(site, solution, Mesh(site.testbed, scenario))


@contextlib.contextmanager
def mesh_set_up(site: Site, scenario: Scenario) -> Iterator[tuple[Solution, Mesh]]:
    """Deploy the scenario as far as it comes, and remove it whatever happens.

    What a run would refuse (another path, no path) is what a diagnosis is for. UnavailableError where it cannot be
    deployed here at all.
    """
    solution = require(site, scenario)
    mesh = Mesh(site.testbed, scenario)
    try:
        promise(site, solution, mesh)
        firewall_policy(site, scenario.policy)
        mesh = run_stages(site, stages_of(solution, mesh), mesh)
        with contextlib.suppress(VpnmeshError):
            await_mesh(site, solution, mesh, min(READY_S, solution.ready_s))
        with contextlib.suppress(VpnmeshError):
            attach(site, mesh, mesh_statuses(site, solution, mesh))
        yield solution, mesh
    finally:
        take_off(site, solution, Mesh(site.testbed, scenario))
