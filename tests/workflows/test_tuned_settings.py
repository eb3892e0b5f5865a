"""A scenario's own congestion control reaches iperf3's argv; without one the profile's does."""

from ipaddress import IPv4Address

import pytest

from vpnmesh.measurements.protocol import Settings
from vpnmesh.solutions import solution_named
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.tools.iperf3 import Iperf3
from workflows.run.measure import tuned


@pytest.mark.parametrize(
    ("scenario", "asked"),
    [
        ("native-1230", "cubic"),
        ("native-1230-no-offload", "cubic"),
        ("headscale-relay", "cubic"),
        ("native-1230-host-cc", None),
    ],
)
def test_what_iperf3_is_asked_for(scenario: str, asked: str | None) -> None:
    """Pods' TCP is the profile's under every scenario but those that want the node's own: these ask for none."""
    wanted = scenario_named(scenario)
    settings = tuned(Settings(congestion="cubic"), solution_named(wanted.solution).tuning(wanted))
    argv = Iperf3(1, 1, settings.congestion).client("tcp", IPv4Address("10.0.0.1"))
    assert (argv[argv.index("-C") + 1] if "-C" in argv else None) == asked
