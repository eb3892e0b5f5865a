"""Fixtures of the firewall tests."""

from pathlib import Path

import pytest

from tests.firewall.appliance import Bench, bench


@pytest.fixture
def pf(tmp_path: Path) -> Bench:
    """A fresh stand-in pfSense with foreign rules, and our driver's way to it."""
    return bench(tmp_path)
