"""The manual driver: what a person is told, and what happens when nobody is there."""

import io
from types import SimpleNamespace
from typing import cast

import pytest
from nornir.core.inventory import Host
from nornir.core.task import Task

from tasks.firewall_drivers import driver_name, driver_of
from tasks.firewall_manual import Manual
from tests.firewall.appliance import six_nodes
from vpnmesh.errors import CheckError, UnknownNameError
from vpnmesh.firewall.pfsense_objects import Mark
from vpnmesh.firewall.policy import policy_named, resolve


def manual(answers: str, told: list[str]) -> Manual:
    """A driver in front of a person who types this."""
    return Manual(six_nodes(), Mark("run-1"), io.StringIO(answers), told.append, {})


def test_person_is_led_there_and_back() -> None:
    """Sentences first, then numbered clicks; a confirmed policy is not asked for again; the way back is clicks too."""
    told: list[str] = []
    driver = manual("\n\n", told)
    wanted = resolve(policy_named("block-udp-k8s"), six_nodes())
    driver.apply(driver.plan(driver.observe(), wanted), wanted)
    assert "is blocked (IPv4 and IPv6)" in told[0]
    assert told[1].startswith("  1. Firewall > Aliases > IP > Add: Name 'vpnmesh_")
    assert "do not end by themselves: `python -m workflows.teardown --run run-1`" in told[-2]
    assert not driver.plan(driver.observe(), wanted)
    driver.roll_back(None)
    assert "delete every rule whose description begins 'vpnmesh:run-1:'" in "".join(told)
    assert driver.observe() == "allow-all"


def test_the_inventory_chooses_the_driver() -> None:
    """`firewall_driver: manual` makes this one, none makes nftables, a misspelt one lists the known ones."""
    host = Host("firewall", data={"firewall_driver": "manual"})
    task = cast("Task", SimpleNamespace(host=host))
    assert isinstance(driver_of(task, six_nodes(), Mark("run-1"), print), Manual)
    assert driver_name(Host("firewall")) == "nftables"
    with pytest.raises(UnknownNameError, match="known are: nftables, pfsense-rest, pfsense-ssh, manual"):
        driver_name(Host("firewall", data={"firewall_driver": "opnsense"}))


@pytest.mark.parametrize("answers", ["", "stop\n"])
def test_nobody_at_the_terminal_is_an_error(answers: str) -> None:
    """Without an answer the policy is not believed to hold."""
    driver = manual(answers, [])
    wanted = resolve(policy_named("block-udp"), six_nodes())
    with pytest.raises(CheckError, match="nobody confirmed"):
        driver.apply(driver.plan(driver.observe(), wanted), wanted)
    assert driver.observe() == "allow-all"
