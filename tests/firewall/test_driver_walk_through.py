"""docs/add-a-firewall-driver.md: its driver is found, typed, and does what every driver has to."""

import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from nornir.core.inventory import Host

from tasks.firewall import registry
from tasks.firewall.driver import FirewallDriver
from tasks.firewall.journal import Journal
from tasks.firewall.policy import change, take_back
from tests import pages
from tests.firewall.appliance import six_nodes
from tests.firewall.goldens import golden
from tests.firewall.walk_through import NAME, install, shown
from vpnmesh.errors import InputError, UnavailableError
from vpnmesh.firewall.policy import POLICIES, policy_named, resolve
from vpnmesh.firewall.session import ChangeOrigin
from vpnmesh.plan import Command, Completed, Fact
from vpnmesh.registry import Registry

ORIGIN = ChangeOrigin("run-1", "firewall", NAME, "192.0.2.1")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The document's module, installed for as long as the test lasts."""
    monkeypatch.syspath_prepend(str(install(tmp_path)))
    known: Registry[FirewallDriver] = Registry(
        "tasks.firewall", "DRIVER", registry.GROUP, FirewallDriver, word="driver"
    )
    monkeypatch.setattr(registry, "KNOWN_DRIVERS", known)
    yield import_module("vpnmesh_iptables")
    del sys.modules["vpnmesh_iptables"]


class Router:
    """A shell on a router whose iptables is only as much as the driver uses: chains, restore, -S."""

    host = "firewall"

    def __init__(self) -> None:
        self.rules: dict[str, list[str]] = {"iptables": [], "ip6tables": []}
        self.ran: list[tuple[str, ...]] = []

    def gather(self, fact: Fact[Any]) -> object:
        """Answer `-S`, with a foreign rule that must stay where it is."""
        answers = [
            Completed(one.argv, 0, "\n".join(["-P FORWARD ACCEPT", *self.rules[one.argv[0]]]), "")
            for one in fact.commands
        ]
        return fact.parse(answers)

    def run_all(self, steps: Sequence[Command]) -> None:
        """Carry out a restore; what it deletes must be there."""
        self.ran += [step.argv for step in steps]
        for step in steps:
            if step.argv[0].endswith("-restore"):
                self._restore(self.rules[step.argv[0].removesuffix("-restore")], str(step.stdin))

    def _restore(self, rules: list[str], script: str) -> None:
        rules[:] = [rule for rule in rules if not rule.startswith("-A VPNMESH ")]
        for line in script.splitlines():
            if line.startswith("-I FORWARD 1 "):
                rules.insert(0, line.replace("-I FORWARD 1", "-A FORWARD"))
            elif line.startswith("-D "):
                rules.remove(line.replace("-D ", "-A ", 1))
            elif line.startswith("-A "):
                rules.append(line)


def test_it_is_found_and_chosen_by_the_inventory(package: ModuleType) -> None:
    """After the project's own drivers, under its name; without the package the name is unknown, in one sentence."""
    assert list(registry.KNOWN_DRIVERS) == ["manual", "nftables", "pfsense-rest", "pfsense-ssh", NAME]
    host = Host("firewall", data={"firewall_driver": NAME})
    assert registry.driver_of(host) is package.DRIVER


def test_without_the_package_its_name_is_one_sentence() -> None:
    """The sentence names host, key and the known ones."""
    with pytest.raises(InputError) as caught:
        registry.driver_of(Host("edge-fw", data={"firewall_driver": NAME}))
    known = "known are: manual, nftables, pfsense-rest, pfsense-ssh"
    assert str(caught.value) == f"edge-fw: firewall_driver: unknown driver 'iptables'; {known}"


@pytest.mark.parametrize("name", ["block-udp-k8s", "tcp-443-only"])
def test_golden(package: ModuleType, name: str) -> None:
    """What is loaded for IPv4 and for IPv6 is the reviewed text."""
    plan = package.plan(((), ()), resolve(policy_named(name), six_nodes()), six_nodes())
    text = "".join(f"# {' '.join(step.argv)}\n{step.stdin}" for step in plan.steps)
    assert golden(f"{name}.iptables", text) == text


@pytest.mark.parametrize("name", [policy.name for policy in POLICIES if not policy.nat])
def test_policy_holds_and_leaves_no_trace(package: ModuleType, name: str, tmp_path: Path) -> None:
    """Twice is once, the dry run writes nothing, another policy replaces it, and the way back leaves nothing."""
    router, said = Router(), list[str]()
    session = package.Iptables(router, six_nodes(), said.append)
    wanted, journal = resolve(policy_named(name), six_nodes()), Journal(tmp_path / "journal")
    assert bool(change(session, wanted, ORIGIN, journal, dry_run=True)) == bool(wanted)
    assert router.ran == []
    assert bool(change(session, wanted, ORIGIN, journal, dry_run=False)) == bool(wanted)
    assert change(session, wanted, ORIGIN, journal, dry_run=False) == ""
    assert bool(said) == bool(wanted)
    other = resolve(policy_named("block-udp"), six_nodes())
    change(session, other, ORIGIN, journal, dry_run=False)
    assert router.rules["iptables"].count("-A FORWARD -j VPNMESH") == 1
    assert take_back(session, ORIGIN, journal)
    assert router.rules == {"iptables": [], "ip6tables": []}
    assert not take_back(session, ORIGIN, journal)


def test_nat_is_refused_before_anything_is_written(package: ModuleType, tmp_path: Path) -> None:
    """What it cannot do is a sentence with the way out."""
    router = Router()
    session = package.Iptables(router, six_nodes(), print)
    wanted = resolve(policy_named("nat-symmetric"), six_nodes())
    with pytest.raises(UnavailableError, match="policy nat-symmetric: the driver iptables sets no NAT"):
        change(session, wanted, ORIGIN, Journal(tmp_path), dry_run=False)
    assert router.ran == []


def test_the_session_is_what_the_driver_makes(package: ModuleType) -> None:
    """The driver is no appliance: VPNs and impairments may use the node; it has no API to compare."""
    driver = package.DRIVER
    assert (driver.is_appliance, driver.is_default, driver.examine) == (False, False, None)
    assert driver.address(SimpleNamespace(hostname="192.0.2.1")) == "192.0.2.1"


@pytest.mark.slow
def test_it_is_typed(tmp_path: Path) -> None:
    """mypy --strict takes the module, and its session as the protocol's."""
    check = (
        "from vpnmesh.firewall.session import FirewallSession\n"
        "def one(made: Iptables) -> FirewallSession[Rules, Plan]:\n    return made\n"
    )
    assert pages.mypy_says(tmp_path / "vpnmesh_iptables.py", shown("python") + check) == ""
