"""Whether the nodes are alike: a VPN's figures on unlike machines are figures of the machines (paper, section 3.2)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

ALIKE = ("kernel", "os", "cpu", "cores", "memory", "nic", "speed", "governor", "iperf3", "ping", "iproute2")
NOT_KNOWN = "not known"

Answers = Mapping[str, Mapping[str, str]]
"""What every node said to the questions of `tasks.read_provenance`."""


def differences(nodes: Answers) -> list[str]:
    """One sentence for everything that is not the same on all nodes, with who has what."""
    told: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for node, answers in nodes.items():
        for name, value in answers_compared(answers):
            told[name][value].append(node)
    return [
        f"{name}: " + "; ".join(f"{value} ({', '.join(who)})" for value, who in values.items())
        for name, values in told.items()
        if len(values) > 1
    ]


def untold(nodes: Answers) -> list[str]:
    """What none of the nodes could tell: equal in all, and yet compared in none."""
    told = {
        name for answers in nodes.values() for name, value in answers_compared(answers) if value != NOT_KNOWN
    }
    return [name for name in ALIKE if name not in told]


def answers_compared(answers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What one node said of all that makes machines alike, by name; "not known" where it said nothing."""
    for name in ALIKE:
        if name == "memory":
            yield name, memory(answers.get("memory_kb", ""))
        else:
            value = (answers.get(name) or NOT_KNOWN).partition("\n")[0]
            yield name, NOT_KNOWN if value.startswith(NOT_KNOWN) else value
    for line in answers.get("offloads", "").splitlines():
        feature, colon, value = line.strip().partition(": ")
        if colon:
            yield f"offload {feature}", value.split()[0]
    yield from _versions(answers)


def versions(nodes: Answers) -> list[str]:
    """What every program calls itself, each once; where nodes differ, each of its versions."""
    tools = ("iperf3", "ping", "iproute2")
    return list(
        dict.fromkeys(
            value
            for answers in nodes.values()
            for value in (
                *(answers.get(name, NOT_KNOWN).partition("\n")[0] for name in tools),
                *(f"{name.split()[0]} {value}" for name, value in _versions(answers)),
            )
            if not value.startswith(NOT_KNOWN)
        )
    )


def _versions(answers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A program's version is asked by its command line; not every node needs every program."""
    for name, value in answers.items():
        if " " in name and not value.startswith(NOT_KNOWN):
            yield name, value.partition("\n")[0]


def memory(kilobytes: str) -> str:
    """MemTotal to two digits: machines of the same size differ by what their kernel keeps for itself."""
    return f"{float(kilobytes) / 1e6:.2g} GB" if kilobytes.isdecimal() else NOT_KNOWN
