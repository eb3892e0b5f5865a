"""Live checks that could not be made as they should: they are errors, which count as unknown, and prove nothing."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from vpnmesh.criteria.catalogue import Value
from vpnmesh.criteria.observation import judge
from vpnmesh.errors import CheckError, CommandError, NodeUnreachableError, VpnmeshError
from vpnmesh.host import provisional
from vpnmesh.model import Path, Scenario
from vpnmesh.study.scenarios import scenario_named
from workflows.run import verifying_members, verifying_outside, verifying_paths
from workflows.run.hosts import HostsFailedError
from workflows.run.interrupts import InterruptedRunError
from workflows.run.verifying_members import registration
from workflows.run.verifying_paths import relay_tcp

MEMBERS = ["worker1", "worker2", "master"]
REFUSED = CommandError("worker2", ("join",), 1, "the key is expired")


def failing(error: VpnmeshError, host: str = "worker2") -> HostsFailedError:
    return HostsFailedError("join_stage", {host: error})


def raiser(error: Exception) -> Callable[..., Any]:
    def raises(*_: object, **__: object) -> None:
        raise error

    return raises


class Nodes:
    """Nodes of which nothing is known but what a check asks of them; tasks are answered by `answers`, by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Callable[..., Any]) -> None:
        self.asked: list[str] = []
        self.refuses: dict[str, VpnmeshError] = {}
        self.answers = answers
        statuses = {name: SimpleNamespace(address=f"of {name}", interface="vpn0") for name in MEMBERS}
        solution = SimpleNamespace(processes=("vpnd",), refusal=lambda _mesh: SimpleNamespace(stages=()))
        self.standing = SimpleNamespace(solution=solution, mesh="mesh", statuses=statuses)
        self.direct, self.server, self.client, self.third = "direct", "worker2", "worker1", "master"
        self.site = SimpleNamespace(nr=None, k8s=MEMBERS, all_nodes=MEMBERS, complaints=[], lease=None)
        for module in (verifying_members, verifying_outside):
            monkeypatch.setattr(module, "run_on", self.run_on)
        monkeypatch.setattr(verifying_members, "stages_of", lambda *_: [SimpleNamespace()])
        monkeypatch.setattr(verifying_members, "run_stages", lambda *_: "mesh")

    def up(self, scenario: Any) -> Any:
        self.asked.append(f"up {getattr(scenario, 'name', scenario)}")
        if (error := self.refuses.get(getattr(scenario, "policy", ""))) is not None:
            raise error
        return self.standing

    def down(self) -> None:
        self.asked.append("down")

    def scenarios(self, path: Path) -> tuple[Scenario, ...]:
        return (scenario_named("nebula-relay"),)

    def rejoin(self) -> Any:
        return self.standing.statuses

    def address(self, member: str) -> str:
        return str(self.standing.statuses[member].address)

    def run_on(self, _nr: object, names: object, task: Callable[..., Any], **given: object) -> Any:
        del names
        self.asked.append(task.__name__)
        return self.answers.get(task.__name__, lambda **_: {})(**given)


def test_a_client_that_ends_with_an_error_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: Any = Nodes(monkeypatch, join_stage=raiser(failing(REFUSED)))
    _, refused, _ = registration(nodes)
    assert (refused.seen, refused.holds) == ("it is refused: the key is expired", True)
    assert nodes.asked == ["up direct", "leave_mesh", "join_stage", "leave_mesh"]


@pytest.mark.parametrize(
    "error",
    [
        NodeUnreachableError("worker2", "the connection was cut"),
        CheckError("lease", "worker2: the lease is over or another's; nothing was changed"),
        *(CommandError("worker2", ("join",), code, "") for code in (124, 137, -1)),
    ],
)
def test_what_only_went_wrong_refuses_nobody(monkeypatch: pytest.MonkeyPatch, error: VpnmeshError) -> None:
    """Nobody said that the key is no good: it is not known whether it would have been."""
    nodes: Any = Nodes(monkeypatch, join_stage=raiser(failing(error)))
    with pytest.raises(HostsFailedError):
        registration(nodes)
    assert nodes.asked[-1] == "leave_mesh"


@pytest.mark.parametrize(("held", "value"), [(True, Value.UNMET), (False, Value.UNKNOWN)])
def test_no_path_under_a_block_is_unmet_only_where_packets_show_the_block(
    monkeypatch: pytest.MonkeyPatch, value: Value, *, held: bool
) -> None:
    nodes: Any = Nodes(monkeypatch)
    nodes.refuses["block-udp"] = CheckError("path", "worker1 reaches worker2 not at all, wanted relay")
    monkeypatch.setattr(verifying_paths, "firewall_policy", lambda _site, name: nodes.asked.append(name))
    proof = [SimpleNamespace(holds=held)]
    monkeypatch.setattr(verifying_paths.firewall, "prove", lambda *_: proof)
    nodes.site.testbed = None
    assert judge(relay_tcp(nodes))[0] is value
    assert nodes.asked == ["up nebula-relay-no-udp", "up nebula-relay", "block-udp", "down"]


def test_a_block_that_does_not_hold_is_no_word_about_the_vpn(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: Any = Nodes(monkeypatch)
    nodes.refuses["block-udp"] = CheckError("firewall", "worker1 to worker2: passes under policy block-udp")
    with pytest.raises(CheckError, match="passes under policy"):
        relay_tcp(nodes)


@pytest.fixture
def putting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nodes that are asked for what they undo as `promised`, and that hold a lease."""
    nodes: Any = Nodes(monkeypatch)
    nodes.site.lease = SimpleNamespace(unclean=set())
    monkeypatch.setattr(verifying_outside, "promise", lambda *_: nodes.asked.append("promised"))
    return nodes


FACTS: Any = {"worker1": provisional.network_behind(), "worker2": provisional.network_behind()}
PUT = "put_for_a_while"


def test_what_was_put_on_nodes_is_removed_to_the_end_though_a_signal_comes(putting: Any) -> None:
    """What the nodes were told to undo is theirs until the scenario goes."""
    signals = [None, InterruptedRunError(15), None]

    def put(**_: object) -> None:
        if (signal := signals.pop(0)) is not None:
            raise signal

    putting.answers[PUT] = put
    with pytest.raises(InterruptedRunError), verifying_outside._put(putting, FACTS, FACTS):
        pass
    assert putting.asked == ["promised", PUT, PUT, PUT]


def test_a_node_where_it_could_not_be_removed_goes_on_owing_it(putting: Any) -> None:
    """It is named, the others have nothing to undo of it any more, and what the check saw counts."""
    with verifying_outside._put(putting, FACTS, FACTS):
        putting.answers[PUT] = raiser(failing(NodeUnreachableError("worker2", "the connection was cut")))
    assert putting.site.lease.unclean == {"worker2"}
    assert "worker2: no SSH: the connection was cut" in putting.site.complaints[0]
    assert putting.asked[-1] == "promised"
