"""What of a node's network stack a solution uses below the pods' packets, as a baseline can be given it too."""

from dataclasses import dataclass
from enum import StrEnum

from vpnmesh.host.tuning import HOST_CONGESTION, Tuning


class Part(StrEnum):
    """One thing that a baseline is given of a VPN's stack; the value is what a report calls it."""

    TCP = "host's TCP"
    OFFLOADS = "packets one by one"


@dataclass(frozen=True, slots=True)
class Stack:
    """What a solution's module says of a scenario's data plane; nothing by default.

    `own_tcp`: packets travel in TCP connections of the solution's own, which get the node's default congestion control
    whatever the pods' TCP uses. `single_packets`: its interface takes and gives VXLAN's packets one by one, so that
    nothing on the way is done for many at once. `buffers_bytes` is what its UDP sockets are given: a queue below the
    pods' TCP, and no part of that one's window, so it is told and no baseline is measured with it. `cores` is how many
    its processes on one node can keep busy at most; None where that is all.
    """

    own_tcp: bool = False
    single_packets: bool = False
    buffers_bytes: int | None = None
    cores: int | None = None

    def tunings(self) -> tuple[tuple[Part, Tuning], ...]:
        """The baselines between a plain one and this stack, each with one part more than the one before."""
        congestion = HOST_CONGESTION if self.own_tcp else None
        steps = [(Part.TCP, Tuning(congestion))] if self.own_tcp else []
        if self.single_packets:
            steps.append((Part.OFFLOADS, Tuning(congestion, offloads=False)))
        return tuple(steps)

    def words(self) -> str:
        """The stack for a reader; "" where there is nothing to say."""
        parts = ["TCP connections of its own, by the nodes' congestion control"] if self.own_tcp else []
        parts += ["VXLAN's packets one by one"] if self.single_packets else []
        parts += [f"UDP sockets of {self.buffers_bytes / 2**20:.0f} MiB"] if self.buffers_bytes else []
        parts += [f"at most {self.cores} of a node's cores"] if self.cores else []
        return "; ".join(parts)


WIREGUARD_GO_BYTES = 7 << 20
"""`socketBufferSize` of wireguard-go since 2023 (conn/controlfns.go) and of Tailscale's (magicsock.go), both ways."""
