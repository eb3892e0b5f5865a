"""Names that could be more than a name are refused with file, host and key, wherever the inventory comes from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from inventory.load import load, records_of
from tests.inventory.test_bad_inventory import Change, written
from vpnmesh.documents.names import (
    host_problem,
    interface_problem,
    label_problem,
    slug_problem,
    title_problem,
)
from vpnmesh.errors import InputError
from vpnmesh.testbed import HostRecord, InventoryRecords, build_testbed
from workflows.full_matrix import main as full_matrix

NETBOX = "https://netbox.example.net (netbox:site=lab)"


def renamed(name: str) -> Change:
    def change(hosts: dict[str, Any], _groups: dict[str, Any], _defaults: dict[str, Any]) -> None:
        hosts[name] = hosts.pop("worker1")

    return change


def hosted(key: str, value: object) -> Change:
    return lambda hosts, _g, _d: hosts["worker1"]["data"].update({key: value})


def grouped(name: str) -> Change:
    def change(hosts: dict[str, Any], groups: dict[str, Any], _defaults: dict[str, Any]) -> None:
        groups[name] = {}
        hosts["worker1"]["groups"].append(name)

    return change


CASES: dict[str, tuple[Change, str]] = {
    "a command for a name": (
        renamed("wor;ker$(touch x)"),
        "wor;ker$(touch x): name: 'wor;ker$(touch x)' is no name",
    ),
    "a path for a name": (renamed("../../etc/cron.d/x"), "../../etc/cron.d/x: name: "),
    "markup for a name": (renamed("<script>"), "<script>: name: '<script>' is no name"),
    "a line break in a name": (renamed("a\nb"), r"a\nb: name: 'a\nb' is no name"),
    "an option for a name": (renamed("-oProxyCommand=x"), "name: '-oProxyCommand=x' is no name"),
    "a dotted name": (renamed("worker1.example.net"), "worker1.example.net: name: "),
    "a long name": (renamed("w" * 64), ": name: "),
    "one name twice": (renamed("Worker2"), "Worker2: name: the same name as worker2"),
    "a command for an interface": (
        hosted("interface", "eth0; rm -rf /"),
        "worker1: interface: 'eth0; rm -rf /' is no interface",
    ),
    "a long interface": (hosted("interface", "e" * 16), "worker1: interface: "),
    "a wildcard": (hosted("interface", "eth*"), "worker1: interface: 'eth*' is no interface"),
    "a quote": (hosted("interface", 'eth0"'), "worker1: interface: "),
    "an interface that is a list": (
        hosted("interface", ["eth0"]),
        "worker1: interface: \"['eth0']\" is no text",
    ),
    "an interface that is a number": (hosted("interface", 0), "worker1: interface: '0' is no text"),
    "a management interface": (
        hosted("management_interface", "$(reboot)"),
        "worker1: management_interface: '$(reboot)' is no interface",
    ),
    "a leg": (
        lambda hosts, _g, _d: hosts["firewall"]["data"]["legs"].update({10: "eth0/1"}),
        "firewall: legs: 10: 'eth0/1' is no interface",
    ),
    "a management address": (
        lambda hosts, _g, _d: hosts["worker1"].update(hostname="-oProxyCommand=touch x"),
        "worker1: hostname: '-oProxyCommand=touch x' is neither an IP address nor a DNS name",
    ),
    "half an address": (
        lambda hosts, _g, _d: hosts["worker1"].update(hostname="10.0.0.300"),
        "worker1: hostname: '10.0.0.300' is neither an IP address nor a DNS name",
    ),
    "a site": (grouped("site__<b>edge"), "worker1: groups: 'site__<b>edge' is no name"),
    "a group": (grouped("../x"), "worker1: groups: '../x' is no name"),
    "a group of nobody": (
        lambda _h, groups, _d: groups.update({"a b": {}}),
        "a b: group: 'a b' is no name",
    ),
    "a VLAN's name": (
        lambda _h, groups, _d: groups["vlan__40"]["data"].update(name="re\nlay"),
        r"vlan__40: name: 're\nlay' is no name",
    ),
    "a VLAN's name that is a number": (
        lambda _h, groups, _d: groups["vlan__40"]["data"].update(name=40),
        "vlan__40: name: '40' is no text",
    ),
    "a VLAN twice": (
        lambda _h, groups, _d: groups.update({"vlan__040": groups["vlan__40"]}),
        "vlan__040: group: '040' is no VLAN id",
    ),
    "a VLAN in other digits": (
        lambda _h, groups, _d: groups.update({"vlan__٤٠": groups["vlan__40"]}),
        "group: 'vlan__٤٠' is no name",
    ),
    "too great a VLAN": (
        lambda _h, groups, _d: groups.update({"vlan__4095": groups["vlan__40"]}),
        "vlan__4095: group: '4095' is no VLAN id",
    ),
    "the testbed's name": (
        lambda _h, _g, defaults: defaults["data"].update(testbed="lab\n x"),
        "defaults: testbed: 'lab\\n x' is no name",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_name_that_is_more_than_one_is_refused(case: str, tmp_path: Path) -> None:
    """One sentence with the file, the host and the key."""
    change, words = CASES[case]
    folder = written(tmp_path, change)
    with pytest.raises(InputError) as caught:
        load(str(folder))
    assert str(caught.value).startswith(str(folder / "hosts.yaml"))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ["a command for a name", "a command for an interface"])
def test_even_a_plan_is_refused(case: str, tmp_path: Path) -> None:
    """`--plan` touches no node, and still says what is wrong: exit code 2, one line on stderr."""
    done = CliRunner().invoke(full_matrix, ["--plan", "--inventory", str(written(tmp_path, CASES[case][0]))])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert CASES[case][1] in done.stderr


def from_netbox(**changes: Any) -> InventoryRecords:
    """The lab as records with NetBox's place, worker1 changed."""
    nr, _ = load("lab")
    records = records_of(nr.inventory, NETBOX)

    def changed(host: HostRecord) -> HostRecord:
        data: Mapping[str, object] = {**host.data, **changes.get("data", {})}
        return replace(host, **{**changes, "data": data}) if host.name == "worker1" else host

    return replace(records, hosts=tuple(changed(host) for host in records.hosts))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "wor;ker$(touch x)"}, "wor;ker$(touch x): name: "),
        (
            {"data": {"interface": "GigabitEthernet1/0/1"}},
            "worker1: interface: 'GigabitEthernet1/0/1' is no interface",
        ),
        ({"data": {"management_interface": "eth0 eth1"}}, "worker1: management_interface: "),
    ],
)
def test_netbox_is_judged_by_the_same_rules(changes: dict[str, Any], words: str) -> None:
    """NetBox takes any text for a device or port; the place in the sentence is its address."""
    build_testbed(from_netbox())
    with pytest.raises(InputError) as caught:
        build_testbed(from_netbox(**changes))
    assert str(caught.value).startswith(f"{NETBOX}: {words}")


@pytest.mark.parametrize(
    "name",
    ["eth0", "enp3s0f0np0", "eno1.10", "br-lan", "bond0", "wlp2s0", "vlan_10", "e" * 15, "mgmt0", "eth0@if2"],
)
def test_interfaces_that_people_have(name: str) -> None:
    """All are taken."""
    assert interface_problem(name) == ""


@given(st.text(max_size=20))
def test_no_interface_is_taken_that_the_kernel_would_not(name: str) -> None:
    """The kernel's own rule (dev_valid_name): 1 to 15 bytes, no `.`, `..`, slash, colon or blank."""
    if interface_problem(name) == "":
        assert 0 < len(name.encode()) < 16
        assert name not in (".", "..")
        assert not set(name) & set("/: \t\n\v\f\r\xa0")


@given(st.text(max_size=70))
def test_what_is_taken_is_quoted_by_no_shell(name: str) -> None:
    """No rule lets through what a shell, a path or a page would read as more than text."""
    special = set("\"'`$;&|<>(){}[]*?!\\#~ \t\n/")
    for problem_of in (label_problem, interface_problem, slug_problem, host_problem):
        if problem_of(name) == "":
            assert not set(name) & special, problem_of
            assert name not in (".", "..")


@pytest.mark.parametrize(
    ("name", "good"),
    [
        *(
            (one, True)
            for one in ("node.example.net", "node", "10.0.0.1", "fe80::1", "node.example.net.", "a-b.c")
        ),
        *((one, False) for one in ("", "a b", "10.0.0", "-a", "a..b", "user@host", "a" * 254, "a;b")),
    ],
)
def test_where_a_node_may_be_managed(name: str, good: bool) -> None:  # noqa: FBT001
    """An address or a DNS name, with nothing about it."""
    assert (host_problem(name) == "") is good


def test_titles_are_for_people() -> None:
    """A VLAN may have blanks and umlauts in its name, and no line break."""
    assert [title_problem(one) == "" for one in ("Büro 2", "a" * 64, "", "a" * 65, "a\nb", "a\x1b[2J")] == [
        *(True, True),
        *(False, False, False, False),
    ]
