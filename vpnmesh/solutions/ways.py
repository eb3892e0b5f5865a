"""What a solution tells of the ways between its members: where they must get to, and which addresses they tried."""

from dataclasses import dataclass

from vpnmesh.firewall.policy import Protocol


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that members must reach: what it is, on which node, by which protocol and port.

    `stun` says that it answers STUN's binding requests (RFC 8489), to clients that call themselves `software` where it
    wants to know; `relays` that members fall back to it.
    """

    what: str
    node: str
    protocol: Protocol
    port: int
    stun: bool = False
    relays: bool = False
    software: str = ""


@dataclass(frozen=True, slots=True)
class Ways:
    """What a node's daemon says of its ways to one peer: the command, the addresses it knows, and the one in use."""

    command: str
    candidates: tuple[str, ...] = ()
    used: str = ""

    def __str__(self) -> str:
        known = f"knows {', '.join(self.candidates)}" if self.candidates else "names no candidates"
        return f"{known}; uses {self.used or 'none'}"
