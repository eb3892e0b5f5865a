"""What a task says of itself: whether it may be run again, and whether it must be run on the controller.

A task that converges (observe, plan, apply, verify) or only reads is `repeatable`: run twice on a node it leaves the
same state as once. One that is not is never run a second time without somebody asking for it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_REPEATABLE, _WHY_HERE = "vpnmesh_repeatable", "vpnmesh_why_here"


def repeatable(task: F) -> F:
    """Declare that the task may be run again where nobody knows whether it was run."""
    task.__dict__[_REPEATABLE] = True
    return task


def on_controller(why: str) -> Callable[[F], F]:
    """Declare that the task needs what only the controller has, and say what that is."""

    def declare(task: F) -> F:
        task.__dict__[_WHY_HERE] = why
        return task

    return declare


def may_repeat(task: Callable[..., Any]) -> bool:
    """Whether it was declared repeatable."""
    return getattr(task, _REPEATABLE, False) is True


def why_on_controller(task: Callable[..., Any]) -> str:
    """What it needs of the controller; empty for a task that may run anywhere."""
    return str(getattr(task, _WHY_HERE, ""))
