"""Who knocks at whom while a mesh comes up, and which stages count as joining."""

import signal
from collections.abc import Callable
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from vpnmesh.errors import CheckError
from vpnmesh.model import DataPlane, Testbed
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh, Peer, Status
from vpnmesh.study.scenarios import scenario_named
from workflows.run import provision
from workflows.run.interrupts import InterruptedRunError
from workflows.run.provision import _parts, knocks, take_off

ADDRESSES = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}


def status(name: str, *unknown: str, address: str | None = "") -> Status:
    """A member that has not connected to anybody, and does not know some of the others yet."""
    own = ADDRESSES[name] if address == "" else address
    peers = tuple(Peer(other, None, None, known=other not in unknown) for other in ADDRESSES if other != name)
    return Status(DataPlane.USERSPACE, "vpn0", IPv4Address(own) if own else None, 1280, peers)


def test_one_end_of_each_pair_knocks() -> None:
    """The earlier member knocks at all later ones."""
    statuses = {name: status(name) for name in ADDRESSES}
    assert knocks(list(ADDRESSES), statuses) == {"a": ["10.0.0.2", "10.0.0.3"], "b": ["10.0.0.3"]}


def test_nobody_knocks_before_both_ends_know_each_other() -> None:
    """One end that does not know the other is enough, whichever it is; a member that is not named is not known."""
    statuses = {"a": status("a", "b"), "b": status("b"), "c": status("c", "b")}
    assert knocks(list(ADDRESSES), statuses) == {"a": ["10.0.0.3"]}
    statuses["c"] = Status(DataPlane.NONE, "vpn0", IPv4Address("10.0.0.3"), 1280)
    assert knocks(list(ADDRESSES), statuses) == {}


def test_a_member_without_an_address_neither_knocks_nor_is_knocked_at() -> None:
    """There is nothing to send from, and nothing to send to."""
    statuses = {"a": status("a", address=None), "b": status("b"), "c": status("c", address=None)}
    assert knocks(list(ADDRESSES), statuses) == {}


def test_joining_is_the_last_stage_unless_a_solution_says_more(bed: Testbed) -> None:
    """WireGuard's members join from their interface on; without stages there is nothing to join."""
    for name, joining in (
        ("wireguard-direct", ["interface", "handshakes", "keepalives"]),
        ("headscale-relay", ["members"]),
        ("native-1450", []),
    ):
        scenario = scenario_named(name)
        stages = SOLUTIONS[scenario.solution].stages(Mesh(bed, scenario))
        infrastructure, members = _parts(stages)
        assert [stage.name for stage in members] == joining
        assert (*infrastructure, *members) == stages


@pytest.mark.parametrize("cut", ["detach_pods", "leave_mesh", "firewall"])
def test_a_signal_while_a_scenario_is_removed_leaves_nothing_there(
    cut: str, bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step that it cut is made once more, the rest follows, what failed is a complaint; then the signal counts."""
    done: list[str] = []
    scenario = scenario_named("wireguard-direct")
    site: Any = SimpleNamespace(
        nr=None, testbed=bed, k8s=[], all_nodes=[], installer=None, complaints=[], lease=None
    )

    def make(name: str) -> None:
        done.append(name)
        if name == cut and done.count(name) == 1:
            raise InterruptedRunError(signal.SIGINT)
        if name == "detach_pods":
            raise CheckError("path", "worker1 does not answer")

    def run_on(_nr: object, _names: object, task: Callable[..., object], **_: object) -> None:
        make(task.__name__)

    monkeypatch.setattr(provision, "run_on", run_on)
    monkeypatch.setattr(provision, "firewall_policy", lambda _site, _name: make("firewall"))
    with pytest.raises(InterruptedRunError) as raised:
        take_off(site, SOLUTIONS[scenario.solution], Mesh(bed, scenario))
    assert raised.value.signum == signal.SIGINT
    assert sorted(done) == sorted(["detach_pods", "leave_mesh", "firewall", cut])
    assert site.complaints == ["path: worker1 does not answer"]
