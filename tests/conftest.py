"""What all tests share: where the captured outputs are, and a testbed."""

import os
from pathlib import Path

import pytest

from inventory.testbed import load
from vpnmesh.model import Testbed

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def captured() -> Path:
    """The folder of real tool outputs."""
    return ROOT / "tests" / "captured"


@pytest.fixture(scope="session")
def bed() -> Testbed:
    """The lab's testbed, as its inventory has it."""
    return load("lab")[1]


def needs(condition: bool, reason: str) -> None:  # noqa: FBT001
    """Skip with the reason where something is missing; with CI=true that is a failure."""
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)
