"""What of a node's kernel settings is set again after a run: only what still is as the run left it."""

import pytest

from tests.golden.goldens import answered
from vpnmesh.host.sysctls import OURS, REDIRECTS, put_back, read
from vpnmesh.plan import Command, Completed


def steps(former: str, now: str) -> list[tuple[str, ...]]:
    """What is run on a node that had redirects so before, and has them so now."""
    fact = put_back({REDIRECTS: former})
    plan = fact.parse([Completed(fact.commands[0].argv, 0, f"{now}\n", "")])
    return [step.argv for step in plan.steps if isinstance(step, Command)]


@pytest.mark.parametrize(
    ("former", "now", "run"),
    [
        ("1", "0", [("sysctl", "-q", "-w", "net.ipv4.conf.all.send_redirects=1")]),
        ("0", "0", []),
        ("1", "1", []),
    ],
)
def test_redirects_that_the_kernels_wireguard_turned_off_are_on_again(
    former: str, now: str, run: list[tuple[str, ...]]
) -> None:
    """A machine that had them off keeps them off, as every node of a lab does."""
    assert OURS[REDIRECTS] == "0"
    assert steps(former, now) == run


def test_a_setting_that_cannot_be_set_is_no_answer() -> None:
    """In a network namespace global keys are there to be read alone."""
    assert answered(read(tuple(OURS)), 1) == {}
