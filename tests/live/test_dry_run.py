"""A dry run shows every kind of change that a run makes on a node, and makes none."""

import pytest
from rich.console import Console

from vpnmesh.matrix import plan_matrix
from workflows import provenance
from workflows.dry_run import show_changes
from workflows.options import MatrixOptions
from workflows.provision import Site

pytestmark = pytest.mark.live


@pytest.mark.parametrize("placement", ["underlay", "pod:both"])
def test_a_dry_run_shows_all_five_kinds_and_changes_nothing(placement: str, site: Site) -> None:
    """Kernel settings, firewall, mesh, pods and impairment, each as a diff under its node; the nodes stay as found."""
    options = MatrixOptions(scenarios="nebula-relay", conditions="none,loss-5pct", placement=placement)
    plan = plan_matrix(options.build(), site.testbed.pairs, 1)
    console = Console(width=200, record=True, quiet=True)
    console.quiet = False
    before = provenance.footprint(site)
    with console.capture() as capture:
        show_changes(console, site, plan)
    assert provenance.compare_footprints(before, provenance.footprint(site)) == []
    said = capture.get()
    settings, _, rest = said.partition("nebula-relay")
    scenario, _, impairments = rest.partition("impairments, in every scenario")
    assert "fs.inotify.max_user_instances = 512" in settings or "+" not in settings
    assert "+++ firewall" in scenario or "policy" in scenario
    assert "+++ /etc/nebula" in scenario or "nebula" in scenario
    assert "+++ pod network" in scenario
    assert "loss" in impairments
    assert site.testbed.client.name in impairments
