"""A lab that is up serves its own testbed alone: another one's nodes are never taken for those that are asked for."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from inventory.load import load
from vpnmesh.errors import InputError
from vpnmesh.lab.directory import SCHEMA_VERSION, LabDirectory, LabRecord, NodeRecord, boot_id
from vpnmesh.lab.lifecycle import Lab
from vpnmesh.lab.processes import ProcessIdentity, process
from vpnmesh.model import Testbed
from workflows.impair import main as impair
from workflows.run.lab import lab_for, lab_up_for

ME = process(os.getpid()) or ProcessIdentity(0, 0)
BED = load("lab")[1]


def lab_of(bed: Testbed, folder: Path) -> Lab:
    """A lab of this testbed, as its record tells."""
    nodes = tuple(NodeRecord(one.name, one.management, str(one.underlay), ME) for one in bed.nodes)
    record = LabRecord(
        SCHEMA_VERSION, boot_id(), bed.name, "f", None, owned=False, owner_pid=1, created="", kernel="", init=ME,
        starter=ME, controller="198.18.213.1/24", uplink="vml0", user="mesh", nodes=nodes, timings=(),
    )  # fmt: skip
    return Lab(record, LabDirectory(folder))


@pytest.mark.parametrize("asked", ["lab", "lab-8"])
def test_a_lab_serves_its_own_testbed_and_a_smaller_one(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six nodes of a lab of eight are the same nodes."""
    lab = lab_of(load("lab-8")[1], tmp_path)
    monkeypatch.setattr("workflows.run.lab.find", lambda: lab)
    assert lab_up_for(load(asked)[1]) is lab


def test_another_testbeds_lab_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other names, other addresses, or fewer nodes: what is up and what was asked for are both said."""
    twin = replace(
        BED, name="mine-twin", nodes=tuple(replace(one, name=f"my-{one.name}") for one in BED.nodes)
    )
    legs = tuple(replace(leg, address=leg.address + 1) for leg in BED.nodes[0].legs)
    elsewhere = replace(BED, nodes=(replace(BED.nodes[0], legs=legs), *BED.nodes[1:]))
    for up, asked in ((twin, BED), (BED, twin), (elsewhere, BED), (BED, load("lab-8")[1])):
        monkeypatch.setattr("workflows.run.lab.find", lambda up=up: lab_of(up, tmp_path))
        with (
            pytest.raises(
                InputError, match=rf"the lab that is up is {up.name} \(6 nodes\), not {asked.name}"
            ),
            lab_for(asked, Console(quiet=True)),
        ):
            pass


def test_a_wrong_management_address_is_no_other_testbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers there, which is told of that node; what a killed run left is looked for on the others."""
    wrong = replace(BED, nodes=(replace(BED.nodes[0], management="198.18.9.9"), *BED.nodes[1:]))
    monkeypatch.setattr("workflows.run.lab.find", lambda: lab_of(BED, tmp_path))
    assert lab_up_for(wrong) is not None


def test_a_command_that_needs_a_lab_says_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, exit code 2."""
    twin = replace(
        BED, name="mine-twin", nodes=tuple(replace(one, name=f"my-{one.name}") for one in BED.nodes)
    )
    monkeypatch.setattr("workflows.run.lab.find", lambda: lab_of(twin, tmp_path))
    done = CliRunner().invoke(impair, ["delay-50ms", "--inventory", "lab"])
    assert done.exit_code == 2, done.output
    assert "the lab that is up is mine-twin (6 nodes), not lab" in " ".join(done.output.split())
