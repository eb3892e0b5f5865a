"""Conditions by name, known networks, and what each engine is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live.routed import PAIR, small_testbed
from vpnmesh.condition import NETWORKS, Condition
from vpnmesh.errors import InputError
from vpnmesh.frames.order import conditions_in_order
from vpnmesh.impairment.engine import auto_limit_packets, impairments_for
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.model import End, Place, Placement
from vpnmesh.report.style import capped_by, condition_title

NAMES = {
    "delay-50ms+jitter-10ms": Condition(delay_ms=50, jitter_ms=10),
    "burst-loss-2pct-8packets": Condition(loss_pct=2, burst_packets=8),
    "delay-50ms+reorder-5pct": Condition(delay_ms=50, reorder_pct=5),
    "rate-20mbit": Condition(rate_mbit_s=20),
    "loss-1pct+back-delay-20ms+back-rate-5mbit": Condition(
        loss_pct=1, back=Condition(delay_ms=20, rate_mbit_s=5)
    ),
    "back-loss-3pct": Condition(back=Condition(loss_pct=3)),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_read_and_written(name: str) -> None:
    """A name means its figures, and they have that name."""
    assert Condition.parse(name) == NAMES[name]
    assert NAMES[name].name == name


@given(
    st.integers(0, 300), st.integers(0, 100), st.integers(0, 20), st.integers(0, 30),
    st.none() | st.integers(1, 999), st.none() | st.integers(2, 40), st.sampled_from(["forth", "back"]),
)  # fmt: skip
def test_every_condition_reads_back(
    delay: int, jitter: int, reorder: int, loss: int, rate: int | None, burst: int | None, way: str
) -> None:
    """Whatever is put together is read again from its own name."""
    one = Condition(
        loss_pct=loss,
        delay_ms=delay,
        jitter_ms=jitter if delay else 0,
        burst_packets=burst if loss else None,
        reorder_pct=reorder if delay else 0,
        rate_mbit_s=rate,
    )
    whole = Condition(back=one) if way == "back" and one else one
    assert Condition.parse(whole.name) == whole


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("jitter-10ms", "jitter varies a delay, and there is none"),
        ("reorder-5pct", "reordered packets skip a delay, and there is none"),
        ("burst-loss-0pct-8packets", "are no bursts"),
        ("burst-loss-50pct-2packets", "are no bursts"),
        ("burst-loss-1.23456pct-8packets", "more than 4 digits"),
        ("delay-50ms+delay-60ms", "unknown condition"),
        ("loss-5pct+burst-loss-5pct-8packets", "unknown condition"),
        ("rate-0mbit", r"rate 0 Mbit/s is not in \[0.35, 10000\]"),
        ("rate-0.1mbit", r"rate 0.1 Mbit/s is not in \[0.35, 10000\]"),
        ("rate-nanmbit", "rate nan Mbit/s is not in"),
        ("back-back-loss-5pct", "unknown condition"),
        ("delay-50ms+back-delay-0ms", "'delay-50ms.back-delay-0ms' has a way back that suffers nothing"),
        ("back-delay-0ms+back-loss-0pct", "suffers nothing"),
        ("lte+loss-1pct", "unknown condition"),
    ],
)
def test_what_no_engine_can_do_is_refused(name: str, problem: str) -> None:
    """One sentence says what is wrong with the name."""
    with pytest.raises(InputError, match=problem):
        Condition.parse(name)


def test_a_zero_beside_a_figure_of_the_way_back_is_none() -> None:
    """A way back that suffers something may say what it does not suffer."""
    assert Condition.parse("delay-50ms+back-delay-0ms+back-loss-1pct").name == "delay-50ms+back-loss-1pct"


def test_known_networks_keep_their_figures() -> None:
    """Recorded results mean these figures by these names: another figure takes another name."""
    both = "delay-{0}ms+jitter-{1}ms+reorder-{2}pct+loss-{3}pct"
    figures = {name: (one.condition.forth.name, one.condition.back) for name, one in NETWORKS.items()}
    assert {name: (forth, back.name if back else "") for name, (forth, back) in figures.items()} == {
        "lte": ("delay-35ms+jitter-5ms+rate-6mbit", "delay-35ms+rate-13mbit"),
        "satellite-geo": ("delay-338ms+rate-2.96mbit", "delay-338ms+rate-18.75mbit"),
        "dsl": ("delay-25ms+rate-0.384mbit", "delay-25ms+rate-1.5mbit"),
        "wifi-congested": ("delay-10ms+jitter-10ms",) * 2,
        "vpn-bench-low": (both.format(2, 2, 0.5, 0.25),) * 2,
        "vpn-bench-medium": (both.format(4, 7, 2.5, 1),) * 2,
        "vpn-bench-high": (both.format(6, 15, 5, 2.5),) * 2,
    }


def test_every_known_network_says_where_its_figures_are_from() -> None:
    """Each kind of figure has a source, or one source has all."""
    for name, one in NETWORKS.items():
        assert Condition.parse(name).name == name
        ways = (one.condition.forth, one.condition.back or Condition())
        kinds = {part.partition("-")[0] for way in ways for part in way.parts}
        assert "all" in one.sources or kinds <= set(one.sources), name


def test_titles() -> None:
    """As a person says it; a known network by its name."""
    assert (
        condition_title("loss-1pct+back-delay-20ms+back-rate-5mbit")
        == "loss 1 % + back: delay 20 ms + rate 5 Mbit/s"
    )
    assert condition_title("burst-loss-2pct-8packets") == "loss 2 % in bursts of 8"
    assert (
        condition_title("delay-50ms+jitter-10ms+reorder-5pct")
        == "delay 50 ms + jitter 10 ms + reordering 5 %"
    )
    assert [condition_title(name) for name in ("lte", "none", "their own")] == [
        "lte",
        "undisturbed",
        "their own",
    ]


def test_what_caps_a_cell_is_said() -> None:
    """The rate of the condition, else netem's queue, of another tool's conditions too."""
    assert [capped_by(name) for name in ("lte", "rate-20mbit", "delay-50ms", "their own")] == [
        "the condition's rate", "the condition's rate", "netem's queue", "netem's queue",
    ]  # fmt: skip


def test_order() -> None:
    """The paper's, then by delay and loss, then by what else there is; known networks after all others."""
    asked = [
        "lte",
        "rate-20mbit",
        "delay-50ms+jitter-10ms",
        "dsl",
        "delay-50ms",
        "burst-loss-2pct-8packets",
        "none",
    ]
    assert conditions_in_order(asked) == (
        "none", "delay-50ms", "rate-20mbit", "burst-loss-2pct-8packets", "delay-50ms+jitter-10ms", "dsl", "lte",
    )  # fmt: skip


def test_each_way_is_set_at_its_own_end() -> None:
    """A way back of its own is at the server's egress; from the server's end it is the other way round."""
    bed, engine = small_testbed(), NetemEngine()
    both = Condition.parse("delay-50ms+back-delay-20ms")
    for end, nodes in ((End.CLIENT, ("worker1", "worker2")), (End.SERVER, ("worker2", "worker1"))):
        parts = impairments_for(engine, bed, PAIR, both, Placement(Place.UNDERLAY, end))
        assert [(target.node, part.condition.name) for target, part in parts] == [
            (nodes[0], "delay-50ms"),
            (nodes[1], "delay-20ms"),
        ]
    (only,) = impairments_for(engine, bed, PAIR, Condition.parse("back-loss-3pct"), Placement())
    assert (only[0].node, only[1].condition.name) == ("worker2", "loss-3pct")


def test_the_queue_has_room_for_jitter_and_for_the_wire() -> None:
    """What waits longest decides, and what waits for a limited rate after that: 100 ms of it in small packets."""
    assert auto_limit_packets(Condition(delay_ms=50, jitter_ms=20)) == auto_limit_packets(
        Condition(delay_ms=70)
    )
    assert auto_limit_packets(Condition(rate_mbit_s=20)) == auto_limit_packets(Condition())
    during_delay, wire = 1e9 * 0.01 / 8 / 1230, 500e6 * 0.1 / 8 / 1230
    assert auto_limit_packets(Condition.parse("delay-10ms+rate-500mbit")) >= during_delay + wire
    assert auto_limit_packets(Condition(rate_mbit_s=1000)) >= 2 * wire


def test_round_trips_and_losses_of_both_ways() -> None:
    """What waits are made of: both delays, jitter, and a full queue at each limited rate."""
    lte = Condition.parse("lte")
    assert lte.round_trip_ms == 35 + 5 + 100 + 35 + 100
    assert Condition.parse("loss-1pct+back-loss-3pct").worst_loss_pct == 3
    assert Condition.parse("burst-loss-2pct-8packets").lost_again == 7 / 8
    assert Condition.parse("loss-5pct").lost_again == 0.05
