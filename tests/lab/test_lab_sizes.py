"""The lab with more workers: valid at every size, the six nodes of old unchanged, one inventory for all commands."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from inventory.load import load
from vpnmesh.errors import InputError
from vpnmesh.lab.__main__ import main
from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.lab.sizes import sized_testbed
from vpnmesh.lab.topology import plan_topology
from vpnmesh.model import Testbed

INVENTORY = Path(__file__).parents[2] / "inventory" / "lab"


@pytest.mark.parametrize("nodes", [6, 7, 12, 24, 33])
def test_a_larger_lab_is_a_lab(bed: Testbed, nodes: int) -> None:
    """So many nodes, each worker in a VLAN of its own; what the six are does not change."""
    larger = sized_testbed(INVENTORY, nodes)
    assert nodes == len(larger.nodes) == len(plan_topology(larger, port_rate_mbit_s=1000).nodes)
    assert nodes - 3 == len(larger.k8s) == len({node.leg.vid for node in larger.k8s})
    assert bed.pairs == larger.pairs
    firewall = bed.firewall.name
    assert all(larger.node(node.name) == node for node in bed.nodes if node.name != firewall)
    assert larger.firewall.legs[: len(bed.firewall.legs)] == bed.firewall.legs


def test_every_command_reads_it_by_name(tmp_path: Path) -> None:
    """`--inventory lab-12`, `lab up --nodes 12` and the folder that `lab inventory` writes are one testbed."""
    made = CliRunner().invoke(main, ["inventory", "--nodes", "12", "--to", str(tmp_path / "mine")])
    assert made.exit_code == 0, made.output
    nr, testbed = load("lab-12")
    assert sized_testbed(INVENTORY, 12) == testbed == read_testbed(tmp_path / "mine")
    assert testbed.name == "lab-12"
    assert len(nr.inventory.hosts) == 12


@pytest.mark.parametrize("name", ["lab-5", "lab-34", "lab-9999"])
def test_a_size_that_cannot_be_is_one_sentence(name: str) -> None:
    """With what is possible."""
    with pytest.raises(InputError, match=r"--inventory: [0-9]+ is not in 6 to 33"):
        load(name)
