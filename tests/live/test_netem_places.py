"""The kernel's netem at every place and end, under every condition of the paper, on a lab; and what it puts back."""

from collections.abc import Iterator

import pytest

import tasks
from inventory.load import load
from tests.live.engines import Record, tell
from tests.live.routed import PAIR, Routed, routed, small_testbed
from tests.needs import missing
from vpnmesh.host.pods import pod_network
from vpnmesh.impairment import burst
from vpnmesh.impairment.engine import check_held, impairment_for
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.lab.lifecycle import Lab
from vpnmesh.model import PAPER_CONDITIONS, Condition, End, Place, Placement
from vpnmesh.tools import netem as tc
from workflows.run.hosts import run_on
from workflows.run.impair import impaired
from workflows.run.site import Site

pytestmark = pytest.mark.live

ALL = PAPER_CONDITIONS[1:]
SOME = tuple(one for one in ALL if one in (Condition(loss_pct=5), Condition(delay_ms=250)))
WAYS = (
    *((Placement(place), ALL) for place in Place),
    # the other end's is the same command on another node
    (Placement(Place.UNDERLAY, End.SERVER), SOME),
    (Placement(Place.VXLAN, End.BOTH), SOME),
)


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    """Pods on the underlay, if this kernel has netem."""
    del lab
    site = Site(*load("lab"))
    bed = site.testbed
    found = run_on(site.nr, [bed.client.name], tasks.has_netem)
    if not found[bed.client.name].result:
        missing("netem", "this kernel has no netem (sch_netem)")
    network = pod_network(bed, 1450, {node.name: (node.leg.interface, node.underlay) for node in bed.k8s})
    run_on(site.nr, site.k8s, tasks.attach_pods, network=network, testbed=bed)
    yield site
    run_on(site.nr, site.k8s, tasks.detach_pods)
    site.nr.close_connections()


@pytest.mark.parametrize(
    ("placement", "conditions"), WAYS, ids=[f"{placement.place}-{placement.end}" for placement, _ in WAYS]
)
def test_netem_keeps_its_word_at_every_place(
    placement: Placement, conditions: tuple[Condition, ...], site: Site, record_property: Record
) -> None:
    """Each condition is read back; 2,000 pings lose what they should (bounds of 1e-6), from 1 ms early to 5 late."""
    assert conditions
    engine = NetemEngine()
    for condition in conditions:
        with impaired(site, engine, condition, placement) as held:
            seen, clean = held.burst, held.clean
            assert seen is not None
            assert clean is not None
            least = [one.rtt.min_ms for one in (clean, seen) if one.rtt is not None]
            low, high = burst.loss_bounds(seen.sent, condition.loss_pct, burst.crossings(placement))
            assert low <= seen.lost <= high
            assert len(least) == 2
            tell(
                record_property, engine, condition.name, f"{placement.place}, {placement.end}",
                asked_of(condition, placement),
                f"{100 * seen.lost / seen.sent:.2f} % of {seen.sent:,} pings, {least[1] - least[0]:+.2f} ms",
            )  # fmt: skip
    assert site.take_complaints() == []


def asked_of(condition: Condition, placement: Placement) -> str:
    """What a ping there and back should suffer; at both ends twice."""
    times = burst.crossings(placement)
    lost = 100 * (1 - (1 - condition.loss_pct / 100) ** times)
    return f"{lost:.2f} % lost, {times * condition.delay_ms:.0f} ms later"


@pytest.fixture(scope="module")
def net(root: None) -> Iterator[Routed]:
    """Two workers and the firewall between them."""
    with routed(small_testbed()) as namespaces:
        yield namespaces


@pytest.mark.parametrize(
    "former",
    ["tbf rate 1gbit burst 256k latency 20ms", "pfifo limit 77", "bfifo limit 90000", "fq_codel limit 1234"],
)
def test_what_was_at_the_root_comes_back(net: Routed, former: str) -> None:
    """netem over a root that somebody set, then cleared: tc shows the same root with the same options as before."""
    engine, asked = NetemEngine(), impairment_for(Condition(loss_pct=5, delay_ms=50), Placement(), seed=1)
    (target,) = engine.targets(net.testbed, PAIR, Placement())
    done = net.run(
        "worker1", "tc", "qdisc", "add", "dev", target.device, "root", "handle", "7:", *former.split()
    )
    probe = net.run(
        "worker1", "unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"
    )
    if done.exit_code or probe.exit_code:
        missing("netem", "this kernel has no netem (sch_netem)")
    before = shown(net, target.device)
    try:
        net.apply("worker1", engine.set(target, asked, net.gather("worker1", engine.observe(target))))
        check_held(net.gather("worker1", engine.observe(target)), asked)
        net.apply("worker1", engine.clear(target, net.gather("worker1", engine.observe(target))))
        assert before == shown(net, target.device)
    finally:
        net.run("worker1", *tc.delete_root(target.device))


def shown(net: Routed, device: str) -> tuple[tc.Qdisc, ...]:
    """The qdiscs that tc shows."""
    return tc.parse_qdiscs(net.check("worker1", *tc.show_qdiscs(device)))
