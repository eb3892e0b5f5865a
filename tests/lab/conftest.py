"""The embedded testbed as a value; nothing here touches the machine."""

from pathlib import Path

import pytest

from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.model import Testbed

INVENTORY = Path(__file__).parents[2] / "inventory" / "lab"


@pytest.fixture(scope="session")
def testbed() -> Testbed:
    return read_testbed(INVENTORY)
