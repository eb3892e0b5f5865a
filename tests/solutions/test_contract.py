"""The contract of every registered solution, offline: what its stages ask and answer on nodes that have nothing.

Every fact is parsed from canned answers; every published value is a secret, so that none can slip into a diff.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping

import pytest
from matplotlib.lines import Line2D

from tests.golden.goldens import answered
from tests.solutions.scenarios import of_every_solution
from vpnmesh.errors import CheckError, VpnmeshError
from vpnmesh.host.links import OVERLAY_KINDS
from vpnmesh.model import Node, Scenario, Testbed
from vpnmesh.plan import Command, Fact, Plan, Secret, Text, reveal
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import SCENARIOS

HUSH = "hush-hush"
SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
every_scenario = pytest.mark.parametrize("scenario", of_every_solution(), ids=lambda one: one.name)
every_solution = pytest.mark.parametrize("name", SOLUTIONS)


class _Everything(Mapping[tuple[str, str], Text]):
    """Whatever is asked for was published, and is secret."""

    def __getitem__(self, key: tuple[str, str]) -> Text:
        return Secret(f"{HUSH}-{'-'.join(key)}")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(())

    def __len__(self) -> int:
        return 0


def mesh_of(bed: Testbed, scenario: Scenario) -> Mesh:
    return Mesh(bed, scenario, _Everything())


def holds(mesh: Mesh) -> Iterator[tuple[str, Node, Fact[Plan]]]:
    """Every stage's question to each of its nodes."""
    for stage in SOLUTIONS[mesh.scenario.solution].stages(mesh):
        for name in stage.nodes:
            node = mesh.testbed.node(name)
            yield stage.name, node, stage.plan(mesh, node)


@every_scenario
def test_stages_name_nodes_that_are_there(scenario: Scenario, bed: Testbed) -> None:
    """Each stage runs on known nodes, none twice, and has a name of its own."""
    known = {node.name for node in bed.nodes}
    stages = SOLUTIONS[scenario.solution].stages(mesh_of(bed, scenario))
    for stage in stages:
        assert stage.nodes
        assert len(stage.nodes) == len(set(stage.nodes))
        assert set(stage.nodes) <= known
    names = [stage.name for stage in stages]
    assert len(names) == len(set(names))


@every_scenario
def test_a_blank_node_lacks_everything(scenario: Scenario, bed: Testbed) -> None:
    """Where all commands fail and say nothing, each stage has a plan, and the plan says what it changes."""
    idle = [
        (stage, node.name)
        for stage, node, fact in holds(mesh_of(bed, scenario))
        if not (plan := answered(fact)) or not plan.diff.strip()
    ]
    assert idle == []


@every_scenario
@pytest.mark.parametrize("exit_code", [0, 1, 2, 22, 124, 127, 255])
def test_no_answer_is_no_error(scenario: Scenario, bed: Testbed, exit_code: int) -> None:
    """Missing tools (127), timeouts (124) and empty outputs become plans, never exceptions."""
    for _, _, fact in holds(mesh_of(bed, scenario)):
        assert isinstance(answered(fact, exit_code), Plan)


UGLY = (
    "",
    "null\n",
    "[]\n",
    "{}\n",
    "3\n",
    '["a"]\n',
    '{"Self": null, "key": []}\n',
    "[[{\n",
    "200 OK <html>\n",
)
"""What a program may print with exit code 0 that is not what was asked for."""
ugly_words = pytest.mark.parametrize("words", UGLY, ids=repr)


@every_scenario
@ugly_words
def test_ugly_words_become_plans_or_our_errors(scenario: Scenario, words: str, bed: Testbed) -> None:
    """A list, null, half an answer with exit code 0: planned again, or said in one of our sentences, never a crash."""
    for _, _, fact in holds(mesh_of(bed, scenario)):
        with contextlib.suppress(VpnmeshError):
            assert isinstance(answered(fact, 0, words), Plan)


@every_scenario
@ugly_words
def test_ugly_words_are_no_path_or_our_errors(scenario: Scenario, words: str, bed: Testbed) -> None:
    """The same asked of the status: no peer has a path, or the error is one of ours."""
    mesh = mesh_of(bed, scenario)
    for node in mesh.members if scenario.solution != "native" else ():
        with contextlib.suppress(VpnmeshError):
            status = answered(SOLUTIONS[scenario.solution].status(mesh, node), 0, words)
            assert {None} == {peer.path for peer in status.peers}


@every_scenario
@ugly_words
@pytest.mark.parametrize("exit_code", [0, 1, 127])
def test_nothing_empty_is_published(scenario: Scenario, words: str, exit_code: int, bed: Testbed) -> None:
    """A key that was not printed is CheckError("provision"), never an empty key that later stages would use."""
    mesh = mesh_of(bed, scenario)
    for stage in SOLUTIONS[scenario.solution].stages(mesh):
        for name in stage.nodes:
            try:
                found = answered(stage.publish(mesh, mesh.testbed.node(name)), exit_code, words)
            except CheckError as error:
                assert error.stage == "provision"  # noqa: PT017 - some stages publish nothing, and raise nothing
            else:
                assert [key for key, value in found.items() if not reveal(value).strip()] == []
                assert not (found and exit_code)


@every_scenario
def test_no_secret_is_in_any_diff_or_argv(scenario: Scenario, bed: Testbed) -> None:
    """What a person reads and what a process list shows hold no published value of a secret."""
    for stage, node, fact in holds(mesh_of(bed, scenario)):
        for exit_code, stdout in ((1, ""), (127, ""), (0, "{}\n")):
            plan = answered(fact, exit_code, stdout)
            words = [word for step in plan.steps if isinstance(step, Command) for word in step.argv]
            assert [word for word in words if HUSH in word] == [], stage
            assert HUSH not in plan.diff, (stage, node.name)
        assert [word for command in fact.commands for word in command.argv if HUSH in word] == [], stage


@every_scenario
def test_leaving_a_blank_node_is_nothing(scenario: Scenario, bed: Testbed) -> None:
    """On every node of the testbed, whether it took part or not."""
    mesh = mesh_of(bed, scenario)
    solution = SOLUTIONS[scenario.solution]
    for node in bed.nodes:
        for exit_code in (0, 1, 127):
            assert Plan() == answered(solution.leave(mesh, node), exit_code)


@every_scenario
@pytest.mark.parametrize(
    ("exit_code", "stdout"), [(1, ""), (127, ""), (255, ""), (124, "")], ids=["1", "127", "255", "124"]
)
def test_the_status_of_a_blank_node_names_no_path(
    scenario: Scenario, bed: Testbed, exit_code: int, stdout: str
) -> None:
    """No interface, no address, and every peer without path; native alone knows its peers from the inventory."""
    mesh = mesh_of(bed, scenario)
    for node in mesh.members:
        status = answered(SOLUTIONS[scenario.solution].status(mesh, node), exit_code, stdout)
        assert [peer.name for peer in mesh.peers(node)] == [peer.name for peer in status.peers]
        if scenario.solution != "native":
            assert {None} == {peer.path for peer in status.peers}
            assert (status.address, status.mtu) == (None, None)


@every_scenario
def test_blacklisting_a_blank_node_is_a_change_or_not_needed(scenario: Scenario, bed: Testbed) -> None:
    """Where a solution looks for interfaces, a node without the list gets it."""
    mesh = mesh_of(bed, scenario)
    for node in mesh.members:
        wanted = SOLUTIONS[scenario.solution].blacklist(mesh, node)
        assert wanted is None or answered(wanted)


@every_scenario
def test_a_dry_run_needs_nothing_published(scenario: Scenario, bed: Testbed) -> None:
    """Every stage can be planned before anything was made, with words in place of keys."""
    mesh = Mesh(bed, scenario, dry_run=True)
    for _, _, fact in holds(mesh):
        assert isinstance(answered(fact), Plan)


@every_solution
def test_names_are_slugs(name: str) -> None:
    """The registry's key is the solution's own name, fit for files, columns and arguments."""
    assert name == SOLUTIONS[name].name
    assert SLUG.fullmatch(name)


@every_solution
def test_interfaces_have_names_that_the_kernel_takes(name: str) -> None:
    """At most 15 characters, without space or slash, and no other solution's."""
    for interface in SOLUTIONS[name].interfaces:
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", interface)
        assert not interface.startswith(("cali", "vxlan.calico", "eth", "mgmt"))
        assert [name] == [other for other, solution in SOLUTIONS.items() if interface in solution.interfaces]


@every_solution
def test_processes_are_comm_names(name: str) -> None:
    """The kernel cuts a process's name at 15 characters: a longer one would never be found."""
    assert [one for one in SOLUTIONS[name].processes if not 0 < len(one) <= 15] == []


@every_solution
def test_binaries_are_asked_for_once_a_role(name: str) -> None:
    """The same program twice in one role would be two rows in the provenance."""
    asked = [(binary.name, binary.at) for binary in SOLUTIONS[name].binaries]
    assert len(asked) == len(set(asked))


@every_solution
def test_what_others_read_of_it_has_their_form(name: str) -> None:
    """Kinds of links, folders of the machine, shapes of secrets, colour and marker: each as its reader takes it."""
    solution = SOLUTIONS[name]
    assert set(solution.kernel_links) <= OVERLAY_KINDS
    assert [one for one in solution.host_folders if not re.fullmatch(r"(/[\w.-]+)+", one)] == []
    assert [
        one for one in solution.secret_shapes if re.search(one, "level=info listening on 192.88.99.2")
    ] == []
    assert re.fullmatch(r"#[0-9a-f]{6}|", solution.colour)
    assert solution.marker in {"", *map(str, Line2D.markers)}
    assert solution.is_vpn == bool(solution.interfaces)


def test_every_scenario_has_a_solution() -> None:
    """A scenario names a registered solution."""
    assert {scenario.solution for scenario in SCENARIOS} <= set(SOLUTIONS)
