"""What has to be known to write down six machines as a testbed: questions with defaults, answers judged at once."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from itertools import islice

from vpnmesh.documents.names import (
    host_problem,
    interface_problem,
    line_problem,
    slug_problem,
    title_problem,
)
from vpnmesh.errors import InputError
from vpnmesh.model import FORWARDING_ROLES, NodeKind, Role

Answers = Mapping[str, str]
"""What is known so far, by the question's key."""
YES, NO = "yes", "no"
FIREWALL = "firewall"
NFTABLES, PFSENSE_REST, PFSENSE_SSH, MANUAL = "nftables", "pfsense-rest", "pfsense-ssh", "manual"
DRIVERS = (NFTABLES, PFSENSE_REST, PFSENSE_SSH, MANUAL)


@dataclass(frozen=True, slots=True)
class Member:
    """A machine with an address of its own in one VLAN: its name, role, and what VLAN it is offered."""

    name: str
    role: Role
    vlan: int
    kind: NodeKind = NodeKind.METAL


MEMBERS = (
    Member("k8s-master", Role.K8S_MASTER, 10),
    Member("worker1", Role.K8S_WORKER, 20),
    Member("worker2", Role.K8S_WORKER, 30),
    Member("relay", Role.RELAY, 40),
    Member("hypervisor", Role.HYPERVISOR, 50, NodeKind.VM),
)
"""The paper's machines beside its router (section 3.2); the control planes' is a virtual one."""


def nothing_wrong(_answer: str, _answers: Answers) -> str:
    """A question that takes any answer."""
    return ""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to be known; `default` and `problem` see the answers that came before it."""

    key: str
    text: str
    default: Callable[[Answers], str]
    problem: Callable[[str, Answers], str] = nothing_wrong
    asked: Callable[[Answers], bool] = lambda _: True
    """Whether it matters at all, by the answers before it."""


def questions() -> tuple[Question, ...]:
    """All questions, in the order in which people know the answers."""
    members = (question for member in MEMBERS for question in _of_member(member))
    return (*_of_testbed(), *members, *_of_firewall(), *_at_the_end())


def check(question: Question, answer: str, answers: Answers) -> None:
    """InputError where that is no answer to the question."""
    if problem := question.problem(answer, answers):
        raise InputError(question.key, f"{answer[:80]!r} {problem}")


def virtual_forwarder(answers: Answers) -> bool:
    """Whether a machine forwards packets and is virtual, which the paper has none of."""
    forwarding = [member.name for member in MEMBERS if member.role in FORWARDING_ROLES]
    return any(answers.get(f"{name}.kind") == NodeKind.VM for name in (*forwarding, FIREWALL))


def _plain(value: str) -> Callable[[Answers], str]:
    return lambda _: value


def _judged(problem: Callable[[str], str]) -> Callable[[str, Answers], str]:
    return lambda answer, _: problem(answer)


def _one_of(*words: str) -> Callable[[str, Answers], str]:
    return lambda answer, _: "" if answer in words else f"is none of {', '.join(words)}"


def _of_testbed() -> Iterator[Question]:
    yield Question("testbed", "name of the testbed", _plain("edge"), _judged(title_problem))
    yield Question(
        "site",
        "site it is at, as NetBox would call it",
        lambda known: known["testbed"],
        _judged(slug_problem),
    )
    yield Question("user", "user who logs in to the nodes, with sudo", _plain("ops"), _judged(line_problem))
    yield Question(
        "domain", "DNS domain of the management names, - for none", _plain("example.net"), _domain_problem
    )
    yield Question("overlay", "prefix for the VPNs' own addresses", _plain("10.213.0.0/24"), _new_prefix)
    yield Question("pods", "prefix for the pods' addresses", _plain("10.136.0.0/16"), _new_prefix)
    yield Question(
        "management_interface", "interface that SSH comes in on", _plain("eno2"), _judged(interface_problem)
    )


def _of_member(member: Member) -> Iterator[Question]:
    name = member.name
    yield _hostname(name)
    yield Question(f"{name}.kind", f"{name}: metal or vm", _plain(member.kind.value), _one_of(*NodeKind))
    yield Question(f"{name}.vlan", f"{name}: its VLAN's id", _plain(str(member.vlan)), _new_vlan)
    yield Question(f"{name}.prefix", f"{name}: that VLAN's prefix", partial(_usual_prefix, name), _new_prefix)
    yield Question(
        f"{name}.gateway",
        f"{name}: the router's address there",
        partial(_numbered, name, 1),
        partial(_address_problem, name),
    )
    yield Question(
        f"{name}.underlay",
        f"{name}: its own address there",
        partial(_numbered, name, 10),
        partial(_own_address_problem, name),
    )
    yield Question(
        f"{name}.interface", f"{name}: its interface there", _plain("eno1"), _judged(interface_problem)
    )


def _of_firewall() -> Iterator[Question]:
    yield _hostname(FIREWALL)
    yield Question(
        "firewall.driver", f"what the router is: {', '.join(DRIVERS)}", _plain(NFTABLES), _one_of(*DRIVERS)
    )
    yield Question(
        "firewall.kind", "the router: metal or vm", _plain(NodeKind.METAL.value), _one_of(*NodeKind)
    )
    yield Question(
        "firewall.pfsense_url",
        "https address of pfSense's pages",
        lambda known: f"https://{known['firewall.hostname']}",
        lambda answer, _: "" if answer.startswith("https://") else "is no https address",
        lambda known: known["firewall.driver"] == PFSENSE_REST,
    )
    for number, member in enumerate(MEMBERS):
        yield Question(
            f"firewall.{member.name}",
            f"the router's interface in the VLAN of {member.name}",
            partial(_usual_leg, number),
            _judged(interface_problem),
        )


def _at_the_end() -> Iterator[Question]:
    yield Question(
        "allow_virtual_forwarding",
        "a virtual machine forwards packets, which the paper has none of: go on, and have reports say so",
        _plain(NO),
        lambda answer, known: _one_of(YES, NO)(answer, known) or ("" if answer == YES else _ON_METAL),
        virtual_forwarder,
    )
    yield Question(
        "mine",
        "may all of these machines be changed: is nothing else on them that matters",
        _plain(NO),
        _one_of(YES, NO),
    )


_ON_METAL = "leaves no way: name a machine of metal for each worker, the relay and the router"


def _hostname(name: str) -> Question:
    return Question(
        f"{name}.hostname", f"{name}: where SSH reaches it", partial(_usual_hostname, name), _new_hostname
    )


def _domain_problem(answer: str, _answers: Answers) -> str:
    return "" if answer == "-" else host_problem(answer)


def _usual_hostname(name: str, answers: Answers) -> str:
    domain = answers["domain"]
    return name if domain == "-" else f"{name}.{domain}"


def _usual_prefix(name: str, answers: Answers) -> str:
    vlan = int(answers[f"{name}.vlan"])
    return f"10.{10 + vlan // 256}.{vlan % 256}.0/24"


def _usual_leg(number: int, answers: Answers) -> str:
    driver, vlan = answers["firewall.driver"], answers[f"{MEMBERS[number].name}.vlan"]
    if driver != NFTABLES:
        return f"opt{number + 1}"
    first = answers.get(f"firewall.{MEMBERS[0].name}", "")
    trunk = first.removesuffix(f".{answers[f'{MEMBERS[0].name}.vlan']}") if first else "eno1"
    return f"{trunk}.{vlan}"


def _numbered(name: str, number: int, answers: Answers) -> str:
    """The prefix's host address of that number, its last one where it has fewer."""
    return [str(host) for host in islice(IPv4Network(answers[f"{name}.prefix"]).hosts(), number)][-1]


def _new_hostname(answer: str, answers: Answers) -> str:
    if problem := host_problem(answer):
        return problem
    return _taken(answer, answers, ".hostname")


def _new_vlan(answer: str, answers: Answers) -> str:
    if not (answer.isascii() and answer.isdecimal() and 0 < int(answer) < 4095 and answer[0] != "0"):  # noqa: PLR2004 - IEEE 802.1Q
        return "is no VLAN id: 1 to 4094"
    return _taken(answer, answers, ".vlan")


def _taken(answer: str, answers: Answers, ending: str) -> str:
    others = (
        key.removesuffix(ending) for key, value in answers.items() if key.endswith(ending) and value == answer
    )
    other = next(others, "")
    return f"is that of {other} already" if other else ""


def _new_prefix(answer: str, answers: Answers) -> str:
    try:
        prefix = IPv4Network(answer)
    except ValueError:
        return "is no IPv4 prefix such as 10.10.10.0/24"
    if prefix.num_addresses < 4:  # noqa: PLR2004 - a router, a node, and what is no host's
        return "has no room for a router and a node"
    for key, value in answers.items():
        if (key.endswith(".prefix") or key in ("overlay", "pods")) and prefix.overlaps(IPv4Network(value)):
            return f"overlaps {value}, the answer to {key}"
    return ""


def _address_problem(name: str, answer: str, answers: Answers) -> str:
    prefix = IPv4Network(answers[f"{name}.prefix"])
    try:
        address = IPv4Address(answer)
    except ValueError:
        return f"is no IPv4 address such as {_numbered(name, 1, answers)}"
    if address not in prefix or address in (prefix.network_address, prefix.broadcast_address):
        return f"is no host's address in {prefix}"
    return ""


def _own_address_problem(name: str, answer: str, answers: Answers) -> str:
    if problem := _address_problem(name, answer, answers):
        return problem
    return "is the router's address there" if answer == answers[f"{name}.gateway"] else ""
