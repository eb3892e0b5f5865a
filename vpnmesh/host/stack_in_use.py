"""What a VPN is seen to use of a node's network stack: `ss` of its processes' sockets, `ethtool` of its interface.

Both are read while a scenario is up, so that a report rests on what was in use and not on what a module says.
"""

import re
from collections.abc import Collection, Iterator, Sequence

from vpnmesh.plan import Command, Completed, Fact

_OWNER = re.compile(r'users:\(\("([^"]+)"')
_CONTROL = re.compile(r"^\s+(?:ts |sack |ecn |ecnseen |fastopen )*(\w+) wscale:", re.MULTILINE)
_BUFFERS = re.compile(r"skmem:\(r\d+,rb(\d+),t\d+,tb(\d+)")
_OFFLOADS = {
    "tcp-segmentation-offload": "tso",
    "generic-segmentation-offload": "gso",
    "generic-receive-offload": "gro",
    "tx-udp_tnl-segmentation": "segmentation of tunnels' packets",
}
_ANY_EXIT = tuple(range(256))
"""A program or an interface that is not there is nothing seen, and no reason not to measure."""


def in_use(processes: Collection[str], interfaces: Sequence[str]) -> Fact[dict[str, str]]:
    """What is in use, by what it is of: `TCP of derper`, `UDP of tailscaled`, `tailscale0`.

    What is not there is left out. Congestion controls of established connections (several joined by a slash), the
    sizes of UDP sockets' buffers in bytes (the kernel doubles what a program asks for, socket(7)), and an interface's
    offloads.
    """
    asks = [("ss", "-tinpH", "state", "established"), ("ss", "-uanmpH")]
    asks += [("ethtool", "-k", name) for name in interfaces]
    commands = tuple(Command(argv, ok=_ANY_EXIT) for argv in asks)

    def parse(completed: Sequence[Completed]) -> dict[str, str]:
        tcp, udp, *links = (one.stdout if one.exit_code == 0 else "" for one in completed)
        return {
            **_by_process("TCP of", tcp, processes, _CONTROL),
            **_by_process("UDP of", udp, processes, _BUFFERS),
            **{name: said for name, text in zip(interfaces, links, strict=True) if (said := _offloads(text))},
        }

    return Fact(commands, parse)


def _by_process(what: str, text: str, processes: Collection[str], pattern: re.Pattern[str]) -> dict[str, str]:
    """What the pattern finds in the sockets of each process."""
    found: dict[str, set[str]] = {}
    for socket in _sockets(text):
        owner, told = _OWNER.search(socket), pattern.search(socket)
        if owner and told and owner[1] in processes:
            found.setdefault(owner[1], set()).add(" and ".join(dict.fromkeys(told.groups())))
    return {f"{what} {name}": "/".join(sorted(kinds)) for name, kinds in sorted(found.items())}


def _sockets(text: str) -> Iterator[str]:
    """The text of each socket: its line and those below it that are indented."""
    yield from (socket for socket in re.split(r"\n(?=\S)", text) if socket.strip())


def _offloads(text: str) -> str:
    told = dict(re.findall(r"^\s*([\w-]+): (on|off)", text, re.MULTILINE))
    return ", ".join(f"{name} {told[key]}" for key, name in _OFFLOADS.items() if key in told)
