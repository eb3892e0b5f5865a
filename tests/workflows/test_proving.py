"""A burst that lost too much is asked again at a slower pace, by the same bounds, and every answer is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from nornir.core.task import Result

import tasks
from inventory.load import load
from vpnmesh.errors import CheckError
from vpnmesh.impairment.engine import impairment_for
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.model import Condition, Placement
from vpnmesh.tools.ping import PingSummary, Rtt
from workflows.run import impair
from workflows.run.impair import Impaired
from workflows.run.site import Site

CLEAN = PingSummary(5, 5, Rtt(0.2, 0.3, 0.5, 0.1))
LOSS = Condition(loss_pct=1)


@dataclass
class Node:
    """Answers each burst with the next of these losses, and remembers how much slower it was."""

    losses: list[int]
    paces: list[int] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    def burst(self, _nr: object, names: Sequence[str], task: object, **asked: object) -> dict[str, Result]:
        """Stand for a burst on the node."""
        assert task is tasks.ping_burst
        assert (asked["condition"], asked["placement"], asked["from_pod"]) == (LOSS, Placement(), False)
        self.paces.append(int(str(asked["slower"])))
        lost = self.losses[len(self.paces) - 1]
        seen = PingSummary(2000, 2000 - lost, Rtt(0.2, 0.4, 9.0, 0.1), f"{lost} lost")
        return {name: Result(host=None, result=seen) for name in names}

    def prove(self, monkeypatch: pytest.MonkeyPatch) -> PingSummary | None:
        """Prove 1 % of loss; returns the burst that is held as its proof."""
        monkeypatch.setattr(impair, "run_on", self.burst)
        site = Site(*load("baremetal"))
        held = Impaired(site, NetemEngine(), (), impairment_for(LOSS, Placement(), seed=1), clean=CLEAN)
        impair._check_burst(held, site.testbed.pairs[0], Placement(), self.kept.__setitem__)
        return held.burst


def test_a_burst_that_is_believed_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One burst, at the full pace."""
    node = Node([20])
    assert node.prove(monkeypatch) is not None
    assert (node.paces, node.kept) == ([1], {"burst.txt": "20 lost"})


def test_a_slower_one_refutes_what_the_pace_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """51 and 49 are more than 1 % makes of 2,000, 19 are not: that burst is the proof, and all three are kept."""
    node = Node([51, 49, 19])
    proof = node.prove(monkeypatch)
    assert proof is not None
    assert proof.lost == 19
    assert node.paces == [1, 4, 16]
    assert node.kept == {
        "burst.txt": "51 lost",
        "burst-4-times-slower.txt": "49 lost",
        "burst-16-times-slower.txt": "19 lost",
    }


def test_what_is_lost_at_every_pace_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that loses more than it should is refused by the slowest burst."""
    node = Node([51, 60, 49])
    with pytest.raises(CheckError, match="loss-1pct: 49 of 2000 packets lost, expected 3 to 48"):
        node.prove(monkeypatch)
    assert node.paces == [1, 4, 16]


def test_too_little_loss_is_never_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pace makes packets that were to be lost arrive."""
    node = Node([2, 20, 20])
    with pytest.raises(CheckError, match="2 of 2000 packets lost"):
        node.prove(monkeypatch)
    assert node.paces == [1]
