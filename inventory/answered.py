"""The answers to `inventory.questions` as an inventory: documents for six machines behind a router."""

from collections.abc import Mapping, Sequence
from typing import Any

from inventory.documents import Documents
from inventory.questions import FIREWALL, MEMBERS, YES, Answers, DriverOffer, Member
from vpnmesh.model import Role
from vpnmesh.testbed import MARK

Entry = dict[str, object]
_NETMIKO: Entry = {
    "platform": "linux",
    "extras": {
        "use_keys": True,
        "allow_agent": True,
        "ssh_strict": True,
        "system_host_keys": True,
        "fast_cli": True,
    },
}


def documents_of(answers: Answers, drivers: Sequence[DriverOffer]) -> Documents:
    """The three documents; whether they are a testbed is judged as with every other inventory."""
    hosts = {member.name: _member(member, answers) for member in MEMBERS}
    return Documents({**hosts, FIREWALL: _firewall(answers, drivers)}, _groups(answers), _defaults(answers))


def _member(member: Member, answers: Answers) -> Entry:
    name = member.name
    prefix_length = answers[f"{name}.prefix"].partition("/")[2]
    data: Entry = {
        "kind": answers[f"{name}.kind"],
        "underlay": f"{answers[f'{name}.underlay']}/{prefix_length}",
        "interface": answers[f"{name}.interface"],
    }
    groups = [*_every(answers), f"role__{member.role}", _vlan(member, answers)]
    return {"hostname": answers[f"{name}.hostname"], "groups": groups, "data": {**data, **_mark(answers)}}


def _firewall(answers: Answers, drivers: Sequence[DriverOffer]) -> Entry:
    legs = {int(answers[f"{member.name}.vlan"]): answers[f"firewall.{member.name}"] for member in MEMBERS}
    data: Entry = {"kind": answers["firewall.kind"], "legs": legs}
    driver = next(one for one in drivers if one.name == answers["firewall.driver"])
    if not driver.is_default:
        data["firewall_driver"] = driver.name
    hostname = answers["firewall.hostname"]
    own = _filled(driver.entry, hostname)
    data |= own.pop("data", {})
    groups = [*_every(answers), f"role__{Role.FIREWALL}", *(_vlan(member, answers) for member in MEMBERS)]
    return {"hostname": hostname, **own, "groups": groups, "data": {**data, **_mark(answers)}}


def _filled(entry: Mapping[str, Any], hostname: str) -> dict[str, Any]:
    """The entry with the address where `{hostname}` stands."""
    return {
        key: _filled(value, hostname) if isinstance(value, Mapping) else value.replace("{hostname}", hostname)
        for key, value in entry.items()
    }


def _every(answers: Answers) -> list[str]:
    return [f"site__{answers['site']}", "platform__linux"]


def _vlan(member: Member, answers: Answers) -> str:
    return f"vlan__{answers[f'{member.name}.vlan']}"


def _mark(answers: Answers) -> Entry:
    return {MARK: True} if answers["mine"] == YES else {}


def _groups(answers: Answers) -> dict[str, Entry]:
    site, platform = _every(answers)
    roles = (f"role__{role}" for role in (*dict.fromkeys(member.role for member in MEMBERS), Role.FIREWALL))
    vlans: dict[str, Entry] = {
        _vlan(member, answers): {
            "data": {
                "name": member.name,
                "prefix": answers[f"{member.name}.prefix"],
                "gateway": answers[f"{member.name}.gateway"],
            }
        }
        for member in MEMBERS
    }
    return {site: {}, platform: {"platform": "linux"}, **{role: {} for role in roles}, **vlans}


def _defaults(answers: Answers) -> Entry:
    return {
        "username": answers["user"],
        "port": 22,
        "data": {
            MARK: answers["testbed"],
            "overlay": answers["overlay"],
            "pods": answers["pods"],
            "management_interface": answers["management_interface"],
            "allow_virtual_forwarding": answers.get("allow_virtual_forwarding") == YES,
        },
        "connection_options": {"netmiko": _NETMIKO},
    }
