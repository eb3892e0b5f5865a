"""What both engines are asked for beyond loss and delay, and read back; tc's answers as q_netem.c prints them."""

import json
from typing import Any

import pytest

from tests.impairment.test_nfqueue import FILES as NFQ_FILES
from tests.impairment.test_nfqueue import QUEUE, RULE, stats
from tests.impairment.test_nfqueue import held as nfq_held
from vpnmesh.condition import Condition
from vpnmesh.errors import CheckError
from vpnmesh.impairment.engine import Impairment, InstalledImpairment, check_held, impairment_for
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.impairment.nfqueue import NfqueueEngine
from vpnmesh.impairment.targets import Direction, Target
from vpnmesh.model import Placement
from vpnmesh.plan import Command, Completed, Plan

NETEM, NFQUEUE = NetemEngine(), NfqueueEngine("/opt/vpnmesh-nfq")
WHOLE = Target("worker1", "underlay-client", "eth0")
FIREWALL = Target("firewall", "underlay-client", "vlan20", Direction.INGRESS)
FILES = "underlay-client.deadman.pid\nunderlay-client.deadman.sh\n"
ALL = "delay-50ms+jitter-10ms+reorder-5pct+burst-loss-2pct-8packets+rate-20mbit"
WORDS = {
    "delay-50ms+jitter-10ms": "netem limit 7318 delay 50ms 10ms",
    "burst-loss-2pct-8packets": "netem limit 1000 loss gemodel 0.25510204% 12.5%",
    "delay-50ms+reorder-5pct": "netem limit 6098 delay 50ms reorder 5%",
    ALL: "netem limit 7561 delay 50ms 10ms reorder 5% loss gemodel 0.25510204% 12.5% rate 40Gbit",
}
SHAPER = "tbf rate 20000000bit burst 2500 latency 100ms"


def asked(name: str) -> Impairment:
    return impairment_for(Condition.parse(name), Placement())


def netem_held(qdiscs: list[dict[str, Any]]) -> InstalledImpairment:
    """Have netem's engine read these qdiscs, armed and with its files."""
    fact = NETEM.observe(WHOLE)
    answers = ((0, json.dumps(qdiscs)), (0, "[]"), (1, ""), (0, ""), (0, FILES))
    return fact.parse(
        [
            Completed(command.argv, code, text, "")
            for command, (code, text) in zip(fact.commands, answers, strict=True)
        ]
    )


def as_shown(**options: object) -> dict[str, Any]:
    """Our netem at the root, as `tc -j` shows it, with these options."""
    shown = {"limit": 7561, "ecn": False, "gap": 1 if "reorder" in options else 0}
    return {"kind": "netem", "handle": "2130:", "root": True, "options": {**shown, **options}}


EVERYTHING = as_shown(
    **{
        "delay": {"delay": 0.05, "jitter": 0.01, "correlation": 0},
        "loss-gemodel": {"p": 0.00255102, "r": 0.125, "1-h": 1, "1-k": 0},
        "reorder": {"reorder": 0.05, "correlation": 0},
        "rate": {"rate": 5_000_000_000, "packetoverhead": 0, "cellsize": 0, "celloverhead": 0},
    }
)
TBF = {
    "kind": "tbf",
    "handle": "2150:",
    "parent": "2130:1",
    "options": {"rate": 2_500_000, "burst": 2500, "lat": 99999},
}


def tc_calls(plan: Plan) -> list[str]:
    return [" ".join(step.argv) for step in plan.steps if isinstance(step, Command) and step.argv[0] == "tc"]


@pytest.mark.parametrize("name", WORDS)
def test_netems_words(name: str) -> None:
    """One netem for each condition; a rate is a shaper's below it, and netem's own only keeps the order."""
    shaper = f"tc qdisc replace dev eth0 parent 2130:1 handle 2150: {SHAPER}"
    expected = [
        f"tc qdisc replace dev eth0 root handle 2130: {WORDS[name]}",
        *([shaper] if "rate" in name else []),
    ]
    assert tc_calls(NETEM.set(WHOLE, asked(name), netem_held([]))) == expected


def test_netem_reads_back_all_of_it() -> None:
    """What tc shows of it is what was asked, so the second plan is empty."""
    held = netem_held([EVERYTHING, TBF])
    assert held.condition == Condition.parse(ALL)
    check_held(held, asked(ALL))
    assert NETEM.set(WHOLE, asked(ALL), held) == Plan()


@pytest.mark.parametrize(
    ("qdiscs", "problem"),
    [
        ([EVERYTHING], "kernel holds delay-50ms.jitter-10ms.reorder-5pct.burst-loss-2pct-8packets$"),
        ([EVERYTHING, TBF | {"options": {"rate": 5_000_000}}], r"rate-40mbit$"),
        ([as_shown(delay={"delay": 0.05, "jitter": 0.01, "correlation": 0.25}), TBF], "jitter correlation"),
        ([as_shown(**{"loss-gemodel": {"p": 0.1, "r": 0.5, "1-h": 0.5, "1-k": 0}})], "none in a bad one"),
        ([as_shown(rate={"rate": 125_000})], "nobody asked for: rate"),
    ],
)
def test_what_is_not_as_asked_is_said(qdiscs: list[dict[str, Any]], problem: str) -> None:
    """A shaper that is gone or another one, correlations, and a chain of another kind are none of ours."""
    with pytest.raises(CheckError, match=problem):
        check_held(netem_held(qdiscs), asked(ALL))


def test_nfqueues_options_and_its_statistics() -> None:
    """The process is asked for all of it, and what it says of itself reads back as that."""
    plan = NFQUEUE.set(FIREWALL, asked(ALL), nfq_held())
    start = next(
        " ".join(step.argv) for step in plan.steps if isinstance(step, Command) and "--queue" in step.argv
    )
    assert (
        "--delay-ms 50 --loss-pct 2 --jitter-ms 10 --burst-packets 8 --reorder-pct 5 --rate-mbit 20 " in start
    )
    written = stats(
        delay_ms=50,
        loss_pct=2,
        jitter_ms=10,
        burst_packets=8,
        reorder_pct=5,
        rate_mbit=20,
        limit=7561,
        seed=2,
    )
    held = nfq_held(RULE, QUEUE, written, 0, NFQ_FILES, rules_ipv6=RULE)
    check_held(held, asked(ALL))
    assert NFQUEUE.set(FIREWALL, asked(ALL), held) == Plan()


def test_nfqueue_says_that_ipv6_passes_by() -> None:
    """Without its rule for IPv6 half of an underlay may pass unharmed; a kernel without IPv6 has nothing to pass."""
    lacking = nfq_held(RULE, QUEUE, stats(), 0, NFQ_FILES, rules_ipv6="")
    with pytest.raises(
        CheckError, match="packets pass by it, for want of rule for IPv6 PREROUTING -i vlan20"
    ):
        check_held(lacking, Impairment(Condition(loss_pct=5, delay_ms=50), 6098, seed=3))
    without = nfq_held(RULE, QUEUE, stats(), 0, NFQ_FILES, rules_ipv6=None)
    check_held(without, Impairment(Condition(loss_pct=5, delay_ms=50), 6098, seed=3))
    assert not any("ip6tables" in " ".join(step.argv) for step in NFQUEUE.clear(FIREWALL, without).steps[:1]
                   if isinstance(step, Command))  # fmt: skip
