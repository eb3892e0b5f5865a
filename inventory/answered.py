"""The answers to `inventory.questions` as an inventory: documents for six machines behind a router."""

from collections.abc import Mapping

from inventory.documents import Documents
from inventory.questions import FIREWALL, MEMBERS, NFTABLES, PFSENSE_REST, PFSENSE_SSH, YES, Answers, Member
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


def documents_of(answers: Answers) -> Documents:
    """The three documents; whether they are a testbed is judged as with every other inventory."""
    hosts = {member.name: _member(member, answers) for member in MEMBERS}
    return Documents({**hosts, FIREWALL: _firewall(answers)}, _groups(answers), _defaults(answers))


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


def _firewall(answers: Answers) -> Entry:
    legs = {int(answers[f"{member.name}.vlan"]): answers[f"firewall.{member.name}"] for member in MEMBERS}
    data: Entry = {"kind": answers["firewall.kind"], "legs": legs}
    driver = answers["firewall.driver"]
    if driver != NFTABLES:
        data["firewall_driver"] = driver
    if driver == PFSENSE_REST:
        data["pfsense_url"] = answers["firewall.pfsense_url"]
    groups = [*_every(answers), f"role__{Role.FIREWALL}", *(_vlan(member, answers) for member in MEMBERS)]
    # pfSense's own configuration is root's
    login: Mapping[str, object] = {"username": "root"} if driver == PFSENSE_SSH else {}
    hostname = answers["firewall.hostname"]
    return {"hostname": hostname, **login, "groups": groups, "data": {**data, **_mark(answers)}}


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
