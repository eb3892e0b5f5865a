"""The manual driver: what a person is told, and what happens when nobody is there."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from nornir.core.inventory import Host
from nornir.core.task import Task

from tasks.firewall.journal import Journal
from tasks.firewall.manual import UNCONFIRMED, Manual
from tasks.firewall.policy import change, take_back
from tasks.firewall.registry import driver_of, session_of
from tests.firewall.appliance import six_nodes
from vpnmesh.errors import CheckError, UnknownNameError
from vpnmesh.firewall.pfsense_objects import Mark
from vpnmesh.firewall.policy import policy_named, resolve
from vpnmesh.firewall.session import ChangeOrigin

ORIGIN = ChangeOrigin("run-1", "firewall", "manual", "192.0.2.1")


def manual(answers: str, told: list[str], folder: Path) -> Manual:
    """A driver in front of a person who types this, with a journal in that folder."""
    return Manual(six_nodes(), Mark("run-1"), io.StringIO(answers), told.append, Journal(folder), ORIGIN)


def test_person_is_led_there_and_back(tmp_path: Path) -> None:
    """Sentences first, then numbered clicks; a confirmed policy is not asked for again; the way back is clicks too."""
    told: list[str] = []
    driver = manual("\n\n", told, tmp_path)
    wanted = resolve(policy_named("block-udp-k8s"), six_nodes())
    change(driver, wanted, ORIGIN, Journal(tmp_path), dry_run=False)
    assert "is blocked (IPv4 and IPv6)" in told[0]
    assert told[1].startswith("  1. Firewall > Aliases > IP > Add: Name 'vpnmesh_")
    assert "do not end by themselves: `python -m workflows.teardown --run run-1`" in told[-2]
    assert not driver.plan(driver.observe(), wanted)
    assert take_back(driver, ORIGIN, Journal(tmp_path))
    assert "delete every rule whose description begins 'vpnmesh:run-1:'" in "".join(told)
    assert driver.observe() == "allow-all"


def test_the_inventory_chooses_the_driver(tmp_path: Path) -> None:
    """`firewall_driver: manual` makes this one, none makes nftables, a misspelt one lists the known ones."""
    host = Host("firewall", data={"firewall_driver": "manual"})
    task = cast("Task", SimpleNamespace(host=host))
    assert isinstance(session_of(task, six_nodes(), Mark("run-1"), print, Journal(tmp_path)), Manual)
    assert driver_of(Host("firewall")).name == "nftables"
    with pytest.raises(
        UnknownNameError,
        match=r"firewall: firewall_driver: unknown driver .* known are: manual, nftables, pfsense-rest, pfsense-ssh",
    ):
        driver_of(Host("firewall", data={"firewall_driver": "opnsense"}))


@pytest.mark.parametrize("answers", ["", "stop\n"])
def test_nobody_at_the_terminal_is_an_error(answers: str, tmp_path: Path) -> None:
    """Without an answer neither the policy nor its absence is believed: the next change begins by taking all away."""
    driver = manual(answers, [], tmp_path)
    wanted = resolve(policy_named("block-udp"), six_nodes())
    with pytest.raises(
        CheckError, match=r"nobody confirmed.* and the roll back failed: firewall: nobody confirmed"
    ):
        change(driver, wanted, ORIGIN, Journal(tmp_path), dry_run=False)
    assert driver.observe() == UNCONFIRMED
    assert "delete every rule" in driver.plan(driver.observe(), wanted).steps[0]
