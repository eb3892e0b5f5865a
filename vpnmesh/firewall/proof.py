"""The proof of a policy by packets: what was expected of each pair, and what was seen."""

from collections.abc import Mapping
from dataclasses import dataclass

from vpnmesh.firewall.policy import Expectation, Policy, Protocol, expectations
from vpnmesh.model import Testbed


@dataclass(frozen=True, slots=True)
class ProofLine:
    """One line of the proof."""

    expected: Expectation
    seen: bool

    @property
    def holds(self) -> bool:
        """Whether packets did what the policy says."""
        return self.expected.passes is self.seen

    def __str__(self) -> str:
        line = self.expected
        word = "passes" if self.seen else "does not pass"
        return f"{line.protocol.upper()} {line.port} from {line.source} to {line.destination} {word}"


Seen = Mapping[tuple[str, str, Protocol, int], bool]
"""Whether packets got from node to node by protocol and port."""


def targets(policy: Policy, testbed: Testbed, node: str) -> tuple[tuple[str, Protocol, int], ...]:
    """What that node has to try: address, protocol, port."""
    lines = (line for line in expectations(policy, testbed) if line.source == node)
    return tuple((str(testbed.node(line.destination).underlay), line.protocol, line.port) for line in lines)


def proof(policy: Policy, testbed: Testbed, seen: Seen) -> tuple[ProofLine, ...]:
    """The whole table, in the testbed's order."""
    lines = expectations(policy, testbed)
    return tuple(
        ProofLine(line, seen[line.source, line.destination, line.protocol, line.port]) for line in lines
    )
