"""A session with nodes that say nothing, and a control that is told what a mesh does."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from vpnmesh.errors import UnavailableError
from vpnmesh.measurements.protocol import ClusterAccess, Part, Question, Side, Until
from vpnmesh.model import Path
from vpnmesh.plan import Completed, Text
from vpnmesh.study.convergence import PathProbe


@dataclass
class SilentProcess:
    """Runs, and prints nothing but what it is waited for."""

    argv: tuple[str, ...]
    printed: str = ""

    def wait_for(self, text: str) -> str:
        return text

    def read_until(self, enough: Callable[[str], bool], *, within_s: float) -> str:
        return self.printed

    def end(self) -> None:
        """It has nothing to end."""

    def stop(self) -> Completed:
        return Completed(self.argv, 0, self.printed, "")


@dataclass
class ScriptedControl:
    """A mesh whose path is what `path_now` says: by default nowhere, and no ping is answered."""

    path_now: Callable[[str], Path | None] = lambda _policy: None
    daemons: bool = True
    policy: str = "allow-all"
    events: list[str] = field(default_factory=list)
    join_s: float = 1.5
    standing: ClusterAccess | None = None

    @property
    def cluster(self) -> ClusterAccess:
        if self.standing is None:
            raise UnavailableError("no cluster")
        return self.standing

    def tunnel_address(self, side: Side) -> IPv4Address:
        return IPv4Address("10.213.0.2" if side == "client" else "10.213.0.3")

    def probe_path(self, until: Until, deadline_s: float) -> Mapping[str, Sequence[PathProbe]]:
        path = self.path_now(self.policy)
        seen: list[PathProbe] = []
        while not (seen and (until(seen) or seen[-1].at_s >= deadline_s)):
            seen.append(PathProbe(0.5 * len(seen), path, answered=path is not None))
        return {"worker1": tuple(seen), "worker2": tuple(seen)}

    def set_policy(self, name: str) -> None:
        self.policy = name
        self.events.append(name)

    def restart(self, side: Side) -> float | None:
        self.events.append(f"restart {side}")
        return 0.25 if self.daemons else None

    def kill(self, part: Part) -> bool:
        self.events.append(f"kill {part}")
        return self.daemons

    def start(self) -> float:
        self.events.append("start")
        return 0.25

    def attach_pods(self) -> None:
        self.events.append("attach pods")


@dataclass
class SilentSession:
    """Runs everything, hears nothing, and keeps it."""

    question: Question
    control: ScriptedControl = field(default_factory=ScriptedControl)
    raw: dict[str, str] = field(default_factory=dict)
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def run(
        self,
        side: Side,
        argv: Sequence[str],
        *,
        in_pod: bool = True,
        timeout_s: float = 20.0,
        ok: tuple[int, ...] = (0,),
        stdin: Text = "",
    ) -> Completed:
        self.ran.append(tuple(argv))
        return Completed(tuple(argv), ok[0], "", "")

    def start(
        self, side: Side, argv: Sequence[str], *, in_pod: bool = True, timeout_s: float
    ) -> SilentProcess:
        self.ran.append(tuple(argv))
        return SilentProcess(tuple(argv))

    def wait(self, seconds: float) -> None:
        """Time does not pass here."""

    @contextmanager
    def observed(self, *, timeout_s: float) -> Iterator[None]:
        yield
        self.raw |= {f"load-{side}.txt": "" for side in ("client", "server", "relay")}

    def keep(self, name: str, text: str) -> None:
        self.raw[name] = text
