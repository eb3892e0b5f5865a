"""Carrying out the stages of a deployment, a VPN's mesh or a cluster, on all their nodes, and timing that."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import tasks
from vpnmesh.plan import Secret, Text
from vpnmesh.stages import D, Stage, side_by_side
from workflows.run.hosts import run_on
from workflows.run.lease import keep_lease
from workflows.run.site import Site, Tell, tell_nobody


@dataclass(slots=True)
class SetUp:
    """What deploying took: changes of nodes while joining, and seconds by phase; `tell` hears of each phase."""

    steps: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    tell: Tell = tell_nobody

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is inside."""
        started = time.monotonic()
        self.tell(name, None)
        yield
        self.seconds[name] = round(time.monotonic() - started, 3)
        self.tell(name, self.seconds[name])


def run_stages(site: Site, stages: Sequence[Stage[D]], deployment: D, set_up: SetUp | None = None) -> D:
    """Run the stages in order, each on all its nodes at once, those that may be beside each other too.

    Returns the deployment with what they published.
    """
    for stage in side_by_side(stages):
        keep_lease(site)
        results = run_on(site.nr, stage.nodes, tasks.join_stage, mesh=deployment, stage=stage)
        found: dict[tuple[str, str], Text] = {
            (host, key): value for host, result in results.items() for key, value in result.result.items()
        }
        deployment = deployment.with_published(found)
        site.secrets |= {value for value in found.values() if isinstance(value, Secret)}
        if set_up is not None:
            set_up.steps += sum(bool(result.changed) for result in results.values())
    return deployment
