"""Removing what somebody else's command still makes: a killed controller's last command goes on running on the node."""

from types import SimpleNamespace
from typing import Any

import pytest

import tasks.apply
from vpnmesh.errors import CommandError, NodeUnreachableError, VerifyError, VpnmeshError
from vpnmesh.plan import Command, Completed, Fact, Plan

LOOK, REMOVE = Command(("ls", "/state")), Command(("rm", "-r", "/state"))
GONE = Fact((LOOK,), lambda found: Plan((REMOVE,), "-/state") if found[0].stdout else Plan())


class Node:
    """A folder that comes back `late` times after it was removed; the first removals end with these errors."""

    def __init__(self, *, there: bool = True, late: int = 0, errors: tuple[VpnmeshError, ...] = ()) -> None:
        self.host, self.there, self.late, self.removed = "worker2", there, late, 0
        self.errors = list(errors)

    def gather(self, gone: Fact[Plan]) -> Plan:
        seen = Completed(LOOK.argv, 0, "/state" if self.there else "", "")
        return gone.read((seen,))

    def change(self, _steps: object) -> None:
        self.removed += 1
        if self.errors:
            raise self.errors.pop(0)
        self.there = self.removed <= self.late


def remove(monkeypatch: pytest.MonkeyPatch, node: Node, *, dry_run: bool = False) -> bool:
    monkeypatch.setattr(tasks.apply, "shell", lambda _task: node)
    task: Any = SimpleNamespace(host=SimpleNamespace(name=node.host), is_dry_run=lambda override: override)
    return tasks.apply.remove(task, GONE, dry_run, settle_s=0.05).changed


@pytest.mark.parametrize(("late", "removals"), [(0, 1), (1, 2)])
def test_what_comes_back_once_is_removed_again(
    monkeypatch: pytest.MonkeyPatch, late: int, removals: int
) -> None:
    node = Node(late=late)
    assert remove(monkeypatch, node)
    assert (node.removed, node.there) == (removals, False)


def test_what_comes_back_ever_again_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VerifyError, match="worker2"):
        remove(monkeypatch, Node(late=9))


def test_nothing_there_and_a_dry_run_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for node, dry_run in ((Node(there=False), False), (Node(), True)):
        assert remove(monkeypatch, node, dry_run=dry_run) is node.there
        assert node.removed == 0


NOT_EMPTY = CommandError("worker2", REMOVE.argv, 1, "Directory not empty")
GONE_AWAY = NodeUnreachableError("worker2", "no SSH: timed out")


def test_what_a_command_refused_is_removed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed controller's last command may fill a folder that is just being removed."""
    node = Node(errors=(NOT_EMPTY,))
    assert remove(monkeypatch, node)
    assert (node.removed, node.there) == (2, False)


def test_a_refusal_that_left_nothing_behind_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps after the one that was refused are carried out, too, though no look finds what they are for."""

    class Half(Node):
        def change(self, steps: object) -> None:
            self.there = False
            super().change(steps)

    node = Half(errors=(NOT_EMPTY,))
    assert remove(monkeypatch, node)
    assert node.removed == 2


@pytest.mark.parametrize(("errors", "removals"), [((NOT_EMPTY, NOT_EMPTY), 2), ((GONE_AWAY,), 1)])
def test_a_second_refusal_and_a_dead_node_are_errors(
    monkeypatch: pytest.MonkeyPatch, errors: tuple[VpnmeshError, ...], removals: int
) -> None:
    """A dead node costs one wait."""
    node = Node(errors=errors)
    with pytest.raises(type(errors[0]), match="worker2"):
        remove(monkeypatch, node)
    assert node.removed == removals
