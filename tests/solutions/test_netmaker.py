"""Netmaker: not evaluated, by what is really on the nodes, before anything is touched."""

from collections.abc import Callable

import pytest
from nornir.core.task import Result

import tasks
from tests.golden.goldens import answered
from tests.solutions.meshes import mesh_of
from vpnmesh.errors import UnavailableError
from vpnmesh.model import Testbed
from vpnmesh.plan import Plan
from vpnmesh.solutions import solution_named
from vpnmesh.study.scenarios import scenario_named
from workflows.run import provision
from workflows.run.provision import Site

SCENARIOS = ("netmaker-direct", "netmaker-relay")
MEMBERS = ["k8s-master", "worker1", "worker2"]
EVERYTHING = {("netclient", name) for name in MEMBERS} | {
    ("netmaker", "hypervisor"),
    ("mosquitto", "hypervisor"),
}


@pytest.fixture
def nodes_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[tuple[str, str]]], None]:
    """Nodes on which these programs are, and nothing else can be asked or changed."""

    def install(there: set[tuple[str, str]]) -> None:
        def run_on(
            _nr: object, names: list[str], task: object, **asked: tuple[str, ...]
        ) -> dict[str, Result]:
            if task is tasks.run_command:
                assert asked["argv"] == ("uname", "-m")
                return {name: Result(host=None, result="x86_64\n") for name in names}
            assert task is tasks.find_binaries
            return {
                name: Result(
                    host=None,
                    result={one: "/there" if (one, name) in there else "" for one in asked["programs"]},
                )
                for name in names
            }

        monkeypatch.setattr(provision, "run_on", run_on)

    return install


def refusal(bed: Testbed, scenario: str) -> str:
    """Why a run cannot have the scenario."""
    with pytest.raises(UnavailableError) as caught:
        provision.require(Site(None, bed), scenario_named(scenario))  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nodes_without_its_programs_are_named(
    scenario: str, bed: Testbed, nodes_with: Callable[[set[tuple[str, str]]], None]
) -> None:
    """Every program that is missing, with all nodes that lack it, in one sentence."""
    nodes_with(set())
    said = refusal(bed, scenario)
    for words in (
        "netclient on k8s-master, worker1, worker2 (",
        "netmaker on hypervisor (",
        "mosquitto on hypervisor",
    ):
        assert f"no binary {words}" in said
    assert "not evaluated; see https://github.com/gravitl/netmaker" in said


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_there_is_not_called_missing(
    scenario: str, bed: Testbed, nodes_with: Callable[[set[tuple[str, str]]], None]
) -> None:
    """One node without netclient is the only one named; with everything there, what is missing is our own code."""
    nodes_with(EVERYTHING - {("netclient", "worker2")})
    assert refusal(bed, scenario).startswith("no binary netclient on worker2 (")
    nodes_with(EVERYTHING)
    said = refusal(bed, scenario)
    assert said.startswith(
        "not evaluated: netmaker is on hypervisor and netclient on the members, but the code"
    )
    assert "not built" in said


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_can_be_joined_or_asked(scenario: str, bed: Testbed) -> None:
    """Whoever goes past the refusal gets the same reason, and leaving is nothing to do."""
    solution, mesh = solution_named("netmaker"), mesh_of(bed, scenario)
    with pytest.raises(UnavailableError, match="not built"):
        solution.stages(mesh)
    with pytest.raises(UnavailableError, match="not built"):
        solution.status(mesh, bed.node("worker1"))
    assert answered(solution.leave(mesh, bed.node("worker1"))) == Plan()
