"""Live checks that could not be made as they should: they are errors, which count as unknown, and prove nothing."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from vpnmesh.errors import CheckError, CommandError, NodeUnreachableError, VpnmeshError
from workflows.run import verifying_members
from workflows.run.hosts import HostsFailedError
from workflows.run.verifying_members import registration

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
        self.answers = answers
        statuses = {name: SimpleNamespace(address=f"of {name}", interface="vpn0") for name in MEMBERS}
        solution = SimpleNamespace(processes=("vpnd",), refusal=lambda _mesh: SimpleNamespace(stages=()))
        self.standing = SimpleNamespace(solution=solution, mesh="mesh", statuses=statuses)
        self.direct, self.server, self.client, self.third = "direct", "worker2", "worker1", "master"
        self.site = SimpleNamespace(nr=None, k8s=MEMBERS, all_nodes=MEMBERS, complaints=[], lease=None)
        for module in (verifying_members,):
            monkeypatch.setattr(module, "run_on", self.run_on)
        monkeypatch.setattr(verifying_members, "stages_of", lambda *_: [SimpleNamespace()])
        monkeypatch.setattr(verifying_members, "run_stages", lambda *_: "mesh")

    def up(self, _scenario: object) -> Any:
        return self.standing

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
    assert nodes.asked == ["leave_mesh", "join_stage", "leave_mesh"]


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
