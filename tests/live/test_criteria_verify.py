"""`workflows.criteria --verify` on the lab: what holds is met, what does not is unmet, and both leave evidence."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tasks
from tests.conftest import ROOT
from tests.live.test_impair_command import footprint
from tests.live.vpn import need
from vpnmesh.criteria.catalogue import Value
from vpnmesh.criteria.observation import Observation, Part, judge
from vpnmesh.solutions.control import Access, everything_but
from vpnmesh.study.scenarios import BUILT_IN
from workflows.run import verifying_access
from workflows.run.hosts import run_on
from workflows.run.site import Site
from workflows.run.verifying import Verifier, verifier
from workflows.run.verifying_access import coarse
from workflows.run.verifying_members import registration
from workflows.run.verifying_outside import self_hosted
from workflows.run.verifying_paths import full_mesh, relay_tcp

pytestmark = pytest.mark.live
VPN = "headscale"


@pytest.fixture(scope="module")
def checks(site: Site) -> Iterator[Verifier]:
    """The checks' way to the lab's nodes, with one solution's scenarios."""
    need(site, f"{VPN}-direct")
    before = footprint(site)
    with verifier(site, BUILT_IN, VPN, print, listening=False) as found:
        yield found
    assert site.take_complaints() == []
    assert footprint(site) == before


def said(observations: list[Observation]) -> str:
    return "\n".join(map(str, observations))
