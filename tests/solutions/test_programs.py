"""Environment, version and folder of a scenario: they reach every program of it, or it is refused in a sentence."""

import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nornir.core.task import Result

import tasks
from tests.golden.goldens import answered
from tests.solutions.test_contract import holds, mesh_of
from vpnmesh.errors import UnavailableError
from vpnmesh.host import service
from vpnmesh.host.service import Service, looking_in, running
from vpnmesh.model import Scenario, Testbed
from vpnmesh.plan import Command, Fact, Plan
from vpnmesh.solutions import SOLUTIONS, solution_named
from vpnmesh.study.programs import is_version, program_of, solution_from, told_version, version_questions
from vpnmesh.study.scenarios import BUILT_IN
from workflows.run import requirements
from workflows.run.site import Site

FOLDER = "/opt/other"
ENVIRONMENT = {"VPNMESH_PROBE": "x y", "ANOTHER": "1"}
WITH_A_PROGRAM = [one for one in BUILT_IN.scenarios if program_of(SOLUTIONS[one.solution]) is not None]
every_scenario = pytest.mark.parametrize("scenario", WITH_A_PROGRAM, ids=lambda one: one.name)


def starts(plan: Plan) -> Iterator[tuple[str, ...]]:
    """The commands of a plan that start a daemon, or an interface that is one."""
    for step in plan.steps:
        if isinstance(step, Command) and (
            service._START in step.argv or "wireguard-go" in " ".join(step.argv)
        ):
            yield step.argv


@every_scenario
def test_the_environment_reaches_every_daemon(scenario: Scenario, bed: Testbed) -> None:
    """On every node that starts one; on every member there is one."""
    mesh = mesh_of(bed, replace(scenario, environment=ENVIRONMENT))
    started: set[str] = set()
    for _, node, fact in holds(mesh):
        for argv in starts(answered(fact)):
            assert {f"{name}={value}" for name, value in ENVIRONMENT.items()} <= set(argv)
            started.add(node.name)
    assert {member.name for member in mesh.members} <= started


def asked(fact: Fact[Plan]) -> list[Command]:
    """All commands of a question and, on a node that has nothing, of the plan that it becomes."""
    plan = answered(fact)
    return [*fact.commands, *(step for step in plan.steps if isinstance(step, Command))]


@every_scenario
def test_a_folder_is_looked_in_first_by_every_command(scenario: Scenario, bed: Testbed) -> None:
    """Joining, publishing, leaving, the blacklist and the status."""
    wanted = replace(scenario, program_folder=FOLDER)
    mesh, solution = mesh_of(bed, wanted), solution_from(solution_named(scenario.solution), wanted)
    commands: list[Command] = []
    for stage in solution.stages(mesh):
        for node in map(bed.node, stage.nodes):
            commands += [*asked(stage.plan(mesh, node)), *stage.publish(mesh, node).commands]
    for node in mesh.members:
        commands += [*asked(solution.leave(mesh, node)), *solution.status(mesh, node).commands]
        if blacklist := solution.blacklist(mesh, node):
            commands += asked(blacklist)
    assert [one.argv for one in commands if one.argv[:4] != looking_in(FOLDER, ())] == []
    assert len(commands) > 10


@every_scenario
def test_a_folder_changes_no_answer(scenario: Scenario, bed: Testbed) -> None:
    """What the nodes say means the same, and an error names the command that the solution knows."""
    own, wanted = solution_named(scenario.solution), replace(scenario, program_folder=FOLDER)
    other, mesh = solution_from(own, wanted), mesh_of(bed, scenario)
    assert (other.name, other.binaries, other.interfaces) == (own.name, own.binaries, own.interfaces)
    for node in mesh.members:
        assert answered(own.status(mesh, node), 1) == answered(other.status(mesh, node), 1)
        assert answered(own.leave(mesh, node)) == answered(other.leave(mesh, node))


def test_without_a_folder_it_is_the_solution_itself() -> None:
    """Nothing is put around it."""
    own = solution_named("nebula")
    assert solution_from(own, BUILT_IN.named("nebula-direct")) is own


def test_another_environment_or_folder_is_another_service() -> None:
    """The scenario's values win over the solution's own; a running service with others is started anew."""
    scenario = BUILT_IN.named("nebula-direct")
    plain = Service("daemon", ("daemon",), environment={"A": "own", "B": "own"})
    other = plain.under(replace(scenario, environment={"A": "mine"}, program_folder=FOLDER))
    assert other.command == looking_in(FOLDER, ("env", "A=mine", "B=own", "daemon"))
    assert plain.under(scenario) == plain
    assert answered(running(plain, replace(scenario, environment={"C": "1"})), 0, plain.spec())
    assert not answered(running(plain, scenario), 0, plain.spec())


def test_a_program_is_found_in_the_folder_first(tmp_path: Path) -> None:
    """By a real shell: the folder before PATH, for the command and for what it starts; the rest as before."""
    (tmp_path / "uname").write_text("#!/bin/sh\necho ours\n")
    (tmp_path / "uname").chmod(0o755)

    def said(*argv: str) -> str:
        return subprocess.run(
            looking_in(str(tmp_path), argv), capture_output=True, text=True, check=True
        ).stdout

    assert said("uname") == said("sh", "-c", "uname") == "ours\n"
    assert said("echo", "a  b", "$HOME") == "a  b $HOME\n"
    assert said("sh", "-c", 'command -v "$1"', "sh", "cat").strip() == shutil.which("cat")


@pytest.mark.parametrize(
    "change", [{"environment": {"A": "b"}}, {"version": "1"}, {"program_folder": FOLDER}]
)
def test_wireguard_by_the_kernel_is_no_program(change: Mapping[str, object], bed: Testbed) -> None:
    """What is wanted of wireguard-go is not passed by in silence: the kernel is left out."""
    scenario = BUILT_IN.named("wireguard-direct")
    wanted = replace(scenario, **change)  # type: ignore[arg-type]
    _, stage, *_ = SOLUTIONS["wireguard"].stages(mesh_of(bed, wanted))

    def made(one: Scenario) -> str:
        plan = answered(stage.plan(mesh_of(bed, one), bed.client), 1)
        return " ".join(word for argv in starts(plan) for word in argv)

    assert "type wireguard" in made(scenario)
    assert "type wireguard" not in made(wanted)
    assert "wireguard-go" in made(wanted)


@pytest.mark.parametrize(
    ("wanted", "text", "same"),
    [
        ("1.6.1", "Version: 1.6.1\n", True),
        ("1.6.1", "Version: 1.6.1+dfsg1", True),
        ("1.98.10", "1.98.10\n  tailscale commit: abc1.98.1\n", True),
        ("1.98.1", "1.98.10\n  go version: go1.22.1\n", False),
        ("1.98", "1.98.10", False),
        ("98.10", "1.98.10", False),
        ("0.0.20220316", "wireguard-go v0.0.20220316\n", True),
        ("v0.0.20220316", "wireguard-go v0.0.20220316\n", True),
        ("1.14.2", "not known: no such file", False),
    ],
)
def test_versions_are_compared_whole(wanted: str, text: str, *, same: bool) -> None:
    """1.98 is not 1.98.10; what a package adds behind a plus is no other version."""
    assert is_version(wanted, text) is same


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Version: 1.6.1\n", "1.6.1"),
        ("wireguard-go v0.0.20220316\n\nUserspace", "0.0.20220316"),
        ("abcdef\nmore", "abcdef"),
        ("", "without a version"),
    ],
)
def test_what_a_program_says_of_itself_is_shortened(text: str, told: str) -> None:
    """To its version, or its first line."""
    assert told_version(text) == told


def test_programs_of_a_folder_are_asked_for_their_version() -> None:
    """By their path there, beside those that nodes have anyway."""
    scenario = replace(BUILT_IN.named("headscale-direct"), program_folder=f"{FOLDER}/")
    plain = list(version_questions([], SOLUTIONS))
    more = list(version_questions([scenario, BUILT_IN.named("nebula-direct")], SOLUTIONS))
    assert more[: len(plain)] == plain
    assert more[len(plain) :] == [
        (f"{FOLDER}/tailscaled", "--version"),
        (f"{FOLDER}/tailscale", "version"),
        (f"{FOLDER}/headscale", "version"),
        (f"{FOLDER}/derper", "--version"),
    ]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str], str], None]:
    """Nodes where nebula says these versions, and where programs are in this folder; nothing else can be asked."""

    def install(told: Mapping[str, str], folder: str) -> None:
        def run_on(
            _nr: object, names: list[str], task: object, **asked: tuple[str, ...]
        ) -> dict[str, Result]:
            if task is tasks.read_version and asked["argv"] == ("uname", "-m"):
                return {name: Result(host=None, result="x86_64") for name in names}
            if task is tasks.read_version:
                assert asked["argv"] == ("nebula", "-version")
                return {name: Result(host=None, result=f"Version: {told[name]}") for name in names}
            assert task is tasks.find_binaries
            found = {one: f"{folder}/{one}" for one in asked["programs"]}
            return {name: Result(host=None, result=found) for name in names}

        monkeypatch.setattr(requirements, "run_on", run_on)

    return install


NEW = dict.fromkeys(("k8s-master", "worker1", "worker2", "hypervisor", "relay"), "1.9.5")


def required(bed: Testbed, **changes: str) -> str:
    """Why a run cannot have the scenario, "" when it can."""
    scenario = replace(BUILT_IN.named("nebula-direct"), name="mine", **changes)  # type: ignore[arg-type]
    try:
        requirements.require(Site(None, bed), scenario)  # type: ignore[arg-type]
    except UnavailableError as error:
        return str(error)
    return ""


def test_another_version_is_unavailable(
    bed: Testbed, nodes: Callable[[Mapping[str, str], str], None]
) -> None:
    """Said with node, both versions and the way out; control plane, relay and members alike."""
    nodes(NEW | {"worker1": "1.6.1", "hypervisor": "1.6.1", "relay": "1.6.1"}, "/usr/bin")
    assert required(bed) == ""
    assert required(bed, version="1.9.5") == (
        "nebula is 1.6.1 on worker1, hypervisor, relay; mine wants 1.9.5"
        " (install it there, or keep it in a folder of its own and write program_folder)"
    )
    nodes(NEW, "/usr/bin")
    assert required(bed, version="1.9.5") == ""


def test_a_folder_without_the_program_is_unavailable(
    bed: Testbed, nodes: Callable[[Mapping[str, str], str], None]
) -> None:
    """Else the usual program would be measured under the name of another."""
    nodes(NEW, "/usr/bin")
    assert required(bed, program_folder=FOLDER) == (
        "no nebula in /opt/other on k8s-master, worker1, worker2, where mine wants it"
        " (put it there, or change program_folder)"
    )
    nodes(NEW, FOLDER)
    assert required(bed, program_folder=f"{FOLDER}/", version="1.9.5") == ""


def test_a_pinned_version_says_what_brings_it(
    bed: Testbed, nodes: Callable[[Mapping[str, str], str], None]
) -> None:
    """A folder of binaries.toml is filled by a command, and the Debian package would be another version."""
    nodes(NEW, "/usr/bin")
    said = required(bed, program_folder="/opt/vpnmesh/nebula-1.10")
    assert said.startswith(
        "no nebula in /opt/vpnmesh/nebula-1.10 on k8s-master, worker1, worker2, where mine wants it"
    )
    assert said.endswith("or python -m vpnmesh.lab binaries --install --only nebula-1.10 --arch amd64)")


@pytest.mark.parametrize(
    ("changes", "makes", "said"),
    [
        ({}, {"k8s-master", "worker1", "worker2"}, ""),
        (
            {},
            {"k8s-master", "worker2"},
            "no binary wireguard-go on worker1 (Debian package wireguard-go)",
        ),
        (
            {"environment": {"A": "b"}},
            {"k8s-master", "worker1", "worker2"},
            "no binary wireguard-go on k8s-master, worker1, worker2 (Debian package wireguard-go)",
        ),
    ],
)
def test_a_kernel_with_wireguard_needs_no_program(
    changes: Mapping[str, Any],
    makes: Collection[str],
    said: str,
    bed: Testbed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No node has wireguard-go: those whose kernel makes the link do without, unless the scenario wants the program."""

    def run_on(_nr: object, names: list[str], task: object, **asked: Any) -> dict[str, Result]:
        if task is tasks.makes_link:
            assert asked == {"kind": "wireguard"}
            return {name: Result(host=None, result=name in makes) for name in names}
        assert task is tasks.find_binaries
        there = {one: "" if one == "wireguard-go" else f"/usr/bin/{one}" for one in asked["programs"]}
        return {name: Result(host=None, result=there) for name in names}

    monkeypatch.setattr(requirements, "run_on", run_on)
    scenario = replace(BUILT_IN.named("wireguard-direct"), **changes)
    if not said:
        requirements.require(Site(None, bed), scenario)  # type: ignore[arg-type]
        return
    with pytest.raises(UnavailableError) as refused:
        requirements.require(Site(None, bed), scenario)  # type: ignore[arg-type]
    assert str(refused.value) == said
