"""What a path is like, in a line: direct, relayed or down, and what the pods' packets did."""

from dataclasses import dataclass

from vpnmesh.model import Path
from vpnmesh.study.checks import seen_path
from vpnmesh.why.finding import Effect
from vpnmesh.why.observed import Observed


@dataclass(frozen=True, slots=True)
class PathState:
    """What both ends say of the way to each other (None: no way, or one that no scenario has), and the pods' pings.

    `wanted` is the scenario's path.
    """

    said: tuple[str, ...]
    paths: tuple[Path | None, ...]
    answered: bool
    full_answered: bool
    rtt_ms: float | None
    wanted: Path = Path.DIRECT

    @property
    def direct(self) -> bool:
        """Both ends send to each other's own address."""
        return set(self.paths) == {Path.DIRECT}

    @property
    def relayed(self) -> bool:
        """One end or both send to the relay, and packets pass."""
        return Path.RELAY in self.paths

    @property
    def works(self) -> bool:
        """Whether the pods' packets get there and back, small and large."""
        return self.answered and self.full_answered

    @property
    def as_wanted(self) -> bool:
        """Whether it works, on the scenario's path."""
        return self.works and set(self.paths) == {self.wanted}

    @property
    def effect(self) -> Effect:
        """What a cause that stops packets on the direct way has done to the path."""
        if not self.answered or None in self.paths:
            return Effect.DOWN
        return Effect.RELAYED if self.relayed else Effect.LATER

    def __str__(self) -> str:
        rtt = "no answer" if self.rtt_ms is None else f"round trip {self.rtt_ms:.2f} ms"
        full = "" if self.full_answered or not self.answered else ", and no packet of full size passes"
        return f"{'; '.join(self.said)}; pod to pod: {rtt}{full}"


def seen_state(seen: Observed) -> PathState:
    """The pair's path as its two ends and its pods tell it."""
    said, paths = [], []
    for node, peer in seen.ends:
        status = seen.statuses.get(node.name)
        found = status.peer(peer.name) if status else None
        path = seen_path(seen.mesh, node.name, status, peer.name) if status else None
        via = f" ({found.via})" if found and found.via else ""
        where = f" at {found.endpoint}" if found and found.endpoint else ""
        said.append(
            f"{node.name} reaches {peer.name} {found.path if found and found.path else 'not'}{where}{via}"
        )
        paths.append(path)
    small, full = (seen.pods.small, seen.pods.full) if seen.pods else (None, None)
    # a pod from which not even a ping could be sent has no answer; where there is none, nothing was to be sent
    answered = small.received > 0 if small else seen.state(seen.pair.client).pod_mtu is None
    return PathState(
        tuple(said),
        tuple(paths),
        answered,
        full is None or full.received > 0,
        small.rtt_avg_ms if small else None,
        seen.mesh.scenario.path,
    )
