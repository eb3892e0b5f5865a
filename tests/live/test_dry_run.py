"""A dry run shows every kind of change that a run makes on a node, and makes none."""

import pytest
from rich.console import Console

import tasks
from vpnmesh.host.sysctls import PAPER_SYSCTLS
from vpnmesh.study.matrix import plan_matrix
from workflows.run import provenance
from workflows.run.dry_run import show_changes
from workflows.run.hosts import run_on
from workflows.run.options import MatrixOptions
from workflows.run.site import Site

pytestmark = pytest.mark.live


@pytest.mark.parametrize("placement", ["underlay", "pod:both"])
def test_a_dry_run_shows_all_five_kinds_and_changes_nothing(placement: str, site: Site) -> None:
    """Kernel settings, firewall, mesh, pods and impairment, each as a diff under its node; the nodes stay as found."""
    options = MatrixOptions(scenarios="nebula-relay", conditions="none,loss-5pct", placement=placement)
    plan = plan_matrix(options.build(), site.testbed.pairs, 1)
    console = Console(width=200)
    before = provenance.footprint(site)
    with console.capture() as capture:
        show_changes(console, site, plan)
    assert provenance.compare_footprints(before, provenance.footprint(site)) == []
    said = capture.get()
    settings, _, rest = said.partition("nebula-relay")
    scenario, _, impairments = rest.partition("impairments, in every scenario")
    # a key that the lab's namespaces lock is no change (docs/lab.md)
    wanted = run_on(site.nr, site.k8s, tasks.set_sysctls, values=PAPER_SYSCTLS, dry_run=True)
    changes = any(result.changed for result in wanted.values())
    assert "kernel settings, for the whole run" in settings
    assert ("+++ sysctl" if changes else "nothing would change") in settings
    assert "+++ firewall policy" in scenario
    assert "+++ /var/lib/vpnmesh/nebula/" in scenario
    assert "+++ pod network" in scenario
    made_later = "+loss-5pct on" in impairments and placement != "underlay"
    assert f": impairment {placement.partition(':')[0]}-client" in impairments or made_later
