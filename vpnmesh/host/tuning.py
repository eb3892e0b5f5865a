"""How pods' TCP differs from the defaults: native scenarios are measured so, to tell a host's tuning from a tunnel.

All of it sits on the pods' own interfaces and in their namespace, so it goes with them; a node's settings stay as they
are. What was made so is noted at the pod's interface (`ip link`, alias) and read from there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

HOST_CONGESTION = ""
"""The node's own default: whoever opens a socket without asking for a congestion control gets it."""
NOTE = "tuned:"
"""What the alias of a tuned pod's interface begins with."""

# constant script: a limit that is wide enough already is left as it is; the pod's namespace has its own (tcp(7)). A
# shell's `read` takes byte after byte, which these files do not answer
_WIDEN = """
wanted=$1
for file in /proc/sys/net/ipv4/tcp_rmem /proc/sys/net/ipv4/tcp_wmem; do
  set -- $(cat "$file")
  [ "$3" -ge "$wanted" ] || echo "$1 $2 $wanted" > "$file"
done
"""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is asked for; nothing by default.

    `congestion` as iperf3's `-C` takes it, None = what the run asks for, `HOST_CONGESTION` = the node's own default.
    Without `offloads` packets leave and reach a pod one by one, as a tunnel hands them over. `buffers_bytes` is how
    large TCP's buffers may grow at least.
    """

    congestion: str | None = None
    offloads: bool = True
    buffers_bytes: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is asked for at all."""
        return self != Tuning()

    @property
    def note(self) -> str:
        """What is set on the pods' interfaces and in their namespace, in words; "" for nothing."""
        parts = [] if self.offloads else ["offloads none"]
        parts += [f"buffers {self.buffers_bytes}"] if self.buffers_bytes else []
        return ", ".join(parts)


def without_offloads(interface: str) -> tuple[str, ...]:
    """The argv after which no packet larger than the MTU leaves the interface, and none is put together on it."""
    return ("ethtool", "-K", interface, "tso", "off", "gso", "off", "gro", "off")


def widened(buffers_bytes: int) -> tuple[str, ...]:
    """The argv that lets TCP's buffers in this namespace grow to that size at least."""
    return ("sh", "-c", _WIDEN, "sh", str(buffers_bytes))


def noted(interface: str, tuning: Tuning) -> Iterator[tuple[str, ...]]:
    """Write down what was set, as the last step: an interrupted plan is then made anew."""
    if tuning.note:
        yield ("ip", "link", "set", interface, "alias", f"{NOTE} {tuning.note}")
