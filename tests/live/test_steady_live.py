"""Flows on the lab: steady under a long delay, refused where they cannot be, opened again where the opening is lost."""

from pathlib import Path

import pytest

import tasks
from vpnmesh.host.pods import in_pod
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.protocol import Question
from vpnmesh.model import Cell, Condition, Placement
from vpnmesh.study.outcome import Failed, Measured
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.scenarios import scenario_named
from workflows.run.hosts import run_on
from workflows.run.impair import choose_engine, impaired
from workflows.run.measure import Attempt, VisitContext, measure
from workflows.run.provision import provisioned
from workflows.run.site import Site
from workflows.run.store import Store

pytestmark = pytest.mark.live

IN_SLOW_START_MBIT_S = 22
"""What a second after a second of TCP gave at 250 ms, whatever the path could carry."""
DROP_THE_FIRST = (
    "add table inet opening",
    "add chain inet opening in { type filter hook input priority 0; }",
    # an opening is 4 bytes of UDP over IPv4, 32 in all: the quota holds one
    "add rule inet opening in udp dport 5201 quota until 40 bytes drop",
)


def test_a_flow_is_counted_from_when_it_is_steady(site: Site, tmp_path: Path) -> None:
    """250 ms: several times the rate of slow start; the same flow in a test of two seconds fails as never steady."""
    store, pair = Store.create(tmp_path / "run"), site.testbed.pairs[0]
    condition = Condition.parse("delay-250ms")
    with (
        provisioned(site, scenario_named("native-1450")) as standing,
        impaired(site, choose_engine(site), condition, Placement()) as delayed,
    ):
        context = VisitContext(site, standing, PROFILES["quick"], store)
        told = Attempt(Cell("native-1450", condition.name, "tcp", pair), 1, 1, 1)
        steady = measure(context, told, delayed)[0].outcome
        # nobody told the test of the delay, so its length is that of a short path
        untold = Attempt(Cell("native-1450", "none", "tcp", pair), 1, 1, 2)
        rising = measure(context, untold, delayed)[0].outcome
    assert isinstance(steady, Measured), steady
    assert (steady.get("rate_mbit_s") or 0) > 2 * IN_SLOW_START_MBIT_S
    assert 1 < (steady.get("steady_s") or 0) < 6
    assert (steady.get("fill_s") or 0) > 1
    assert isinstance(rising, Failed), rising
    assert rising.stage == "steady"
    assert "--duration" in rising.reason


def test_a_lost_opening_is_tried_again_and_counted(site: Site) -> None:
    """The first datagram is dropped: the stream is opened a second time, and the figures say so."""
    bed, measurement = site.testbed, measurement_named("udp")
    question = Question(bed, bed.pairs[0], scenario=scenario_named("native-1450"))
    parameters = {"measurement": measurement, "question": question, "others": site.nr.inventory.hosts}
    with provisioned(site, scenario_named("native-1450")):
        for rule in DROP_THE_FIRST:
            run_on(site.nr, [bed.server.name], tasks.run_command, argv=in_pod("nft", rule))
        try:
            raw = run_on(site.nr, [bed.client.name], tasks.measure, **parameters)[bed.client.name].result
        finally:
            tidy = in_pod("nft", "delete table inet opening")
            run_on(site.nr, [bed.server.name], tasks.run_command, argv=tidy)
    measured = measurement.parse(raw, question)
    assert measured.get("openings") == 2
    assert (measured.get("rate_mbit_s") or 0) > 0
    assert "Accepted connection" in raw["opening-1.txt"]
