"""Nebula: certificates are asked for as the programs there are want it, whatever the scenario is called."""

import pytest

from tests.solutions.meshes import CONTROL, said
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed
from vpnmesh.solutions import nebula
from vpnmesh.solutions.protocol import Mesh, MeshRole
from vpnmesh.study.scenarios import scenario_named


def certificates(bed: Testbed, scenario: str, version: str) -> list[Command]:
    """The commands that sign, on an authority whose programs say that version of themselves."""
    names = [node.name for node in nebula.participants(Mesh(bed, scenario_named(scenario)))]
    published = {(name, key): f"{key} of {name}" for name in names for key in ("public-key", "console-key")}
    mesh = Mesh(bed, scenario_named(scenario), published)
    stage = next(one for one in nebula.SOLUTION.stages(mesh) if one.name == "certificates")
    fact = stage.plan(mesh, bed.node(CONTROL))
    answers = [*said(version), *said(*("" for _ in fact.commands[1:]), exit_code=1)]
    steps = fact.parse(answers).steps
    return [step for step in steps if isinstance(step, Command) and step.argv[:2] == ("nebula-cert", "sign")]


@pytest.mark.parametrize("scenario", ["nebula-direct", "nebula-relay-1.10"])
@pytest.mark.parametrize(
    ("version", "option"),
    [
        ("Version: 1.6.1\n", "-ip"),
        ("Version: 1.9.7", "-ip"),
        ("Version: 1.10.0", "-networks"),
        ("Version: 1.10.3\n", "-networks"),
        ("Version: 2.0", "-networks"),
        ("Version: dev", "-ip"),
        ("", "-ip"),
    ],
)
def test_the_option_follows_the_version_that_is_there(
    version: str, option: str, scenario: str, bed: Testbed
) -> None:
    """`-ip` is deprecated from 1.10 on; the scenario's name has no say in it."""
    found = certificates(bed, scenario, version)
    assert len(found) >= len(bed.k8s)
    assert {option} == {word for command in found for word in command.argv if word in ("-ip", "-networks")}


def test_a_certificate_for_the_present_key_is_kept(bed: Testbed) -> None:
    """Only the node whose key changed gets a new one."""
    mesh = Mesh(bed, scenario_named("nebula-direct"), {}, dry_run=True)
    stage = next(one for one in nebula.SOLUTION.stages(mesh) if one.name == "certificates")
    fact = stage.plan(mesh, bed.node(CONTROL))
    keys = [str(mesh.published_by(node.name, "public-key")) for node in nebula.participants(mesh)]
    kept = [Completed((), 0, text, "") for text in ("Version: 1.6.1", *keys)]
    assert not fact.parse(kept)
    changed = fact.parse([*kept[:-1], Completed((), 0, "another key", "")])
    signed = [step for step in changed.steps if isinstance(step, Command) and "sign" in step.argv]
    assert len(signed) == 1


def test_every_role_has_its_programs(bed: Testbed) -> None:
    """The relay runs nebula and makes its keys as members do, so a missing program is said before anything starts."""
    needed = {role: {one.name for one in nebula.SOLUTION.binaries if one.at is role} for role in MeshRole}
    assert {frozenset(names) for names in needed.values()} == {
        frozenset({"nebula", "nebula-cert", "ssh-keygen"})
    }
