"""The contract of every registered solution, on real nodes; a solution without its binaries is skipped, said so."""

import pytest

import tasks
from tests.live.vpn import need
from tests.solutions import walk_through
from tests.solutions.scenarios import of_every_solution
from vpnmesh.errors import CheckError
from vpnmesh.model import Path, Scenario
from vpnmesh.solutions import SOLUTIONS, solution_named
from vpnmesh.solutions.protocol import STATE_DIRECTORY, Mesh, Solution
from vpnmesh.study.checks import check_mesh
from vpnmesh.study.programs import solution_from
from vpnmesh.study.scenarios import scenario_named
from workflows.run.hosts import run_on
from workflows.run.provision import Provisioned, prove_path, provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live

TESTED = of_every_solution()


def traces(site: Site) -> dict[str, str]:
    """Everything on the nodes that a solution could leave: interfaces, processes, files, rules."""
    script = "; ".join(
        (
            "ip -br link | cut -d' ' -f1 | cut -d@ -f1 | sort",
            "ps -e -o comm= | sort -u | grep -vE '^(sh|ps|sort|grep|sudo|sshd.*|timeout|cut)$'",
            f"find {STATE_DIRECTORY} /run/vpnmesh /etc/wireguard /etc/nebula -type f 2>/dev/null | sort",
            "nft list ruleset",
            "ip rule",
        )
    )
    results = run_on(site.nr, site.all_nodes, tasks.run_command, argv=("sh", "-c", script))
    return {host: result.result for host, result in results.items()}


def on_a_dry_run(site: Site, solution: Solution, scenario: Scenario) -> None:
    """Every stage of joining, asked what it would do."""
    dry = Mesh(site.testbed, scenario, dry_run=True)
    for stage in solution.stages(dry):
        run_on(site.nr, stage.nodes, tasks.join_stage, mesh=dry, stage=stage, dry_run=True)


def is_as_it_says(site: Site, standing: Provisioned) -> None:
    """Path said by both ends and proven by the relay's counters, MTU, endpoints; and the wrong path is refused."""
    check_mesh(standing.mesh, standing.statuses)
    relayed = standing.scenario.path is Path.RELAY
    assert (standing.relay_share >= 0.9) if relayed else (standing.relay_share < 0.01)
    other = "nebula-direct" if relayed else "nebula-relay"
    claimed = Mesh(site.testbed, scenario_named(other), standing.mesh.published)
    with pytest.raises(CheckError, match=r"path: .* of the bytes"):
        prove_path(site, claimed)


def changed_by_joining_again(site: Site, standing: Provisioned) -> list[tuple[str, str, str]]:
    """The stages and nodes on which joining is not done yet, with the differences."""
    mesh, solution = standing.mesh, standing.solution
    changed = []
    for stage in solution.stages(mesh):
        results = run_on(site.nr, stage.nodes, tasks.join_stage, mesh=mesh, stage=stage)
        changed += [(stage.name, host, result.diff) for host, result in results.items() if result.changed]
    blacklists = run_on(site.nr, site.k8s, tasks.blacklist_interfaces, solution=solution, mesh=mesh)
    changed += [("blacklist", host, result.diff) for host, result in blacklists.items() if result.changed]
    return changed


@pytest.mark.parametrize("scenario", TESTED, ids=lambda one: one.name)
def test_a_scenario_stands_as_it_says_and_leaves_no_trace(scenario: Scenario, site: Site) -> None:
    """Dry run touches nothing; joining again changes nothing; leaving leaves nothing, and is then nothing to do."""
    need(site, scenario)
    solution = solution_from(solution_named(scenario.solution), scenario)
    before = traces(site)
    on_a_dry_run(site, solution, scenario)
    assert before == traces(site)
    with provisioned(site, scenario) as standing:
        is_as_it_says(site, standing)
        assert changed_by_joining_again(site, standing) == []
    assert site.take_complaints() == []
    assert before == traces(site)
    again = run_on(site.nr, site.all_nodes, tasks.leave_mesh, solution=solution, mesh=standing.mesh)
    assert {False} == {result.changed for result in again.values()}


def test_the_walk_through_ends_with_a_green_contract(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that docs/add-a-solution.md shows, registered as it says, on real nodes."""
    monkeypatch.setitem(SOLUTIONS, "plainvxlan", walk_through.solution())
    test_a_scenario_stands_as_it_says_and_leaves_no_trace(walk_through.SCENARIO, site)
