"""How a standing cluster is shown: stages while it comes up, what to do with it, and what is there now."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.status import Status
from rich.table import Table

from vpnmesh.cluster.protocol import API_PORT
from workflows.run.cluster_record import ClusterRecord
from workflows.run.cluster_view import ClusterView

STAGES = {
    "lab": "the lab is up",
    "firewall": "the firewall has the scenario's policy",
    "infrastructure": "the VPN's relay and control plane run",
    "members": "the members have joined",
    "ready": "every pair has its path, every member its address",
    "pods": "the pod network lies over these addresses",
    "cluster ready": "all nodes are Ready, all measured pods run",
    "cluster entering pods": "the measured pods can be entered",
    "proof": "firewall policy and path are proven by packets",
    "answers": "the measured pods answer each other",
    "removing": "all that was made is taken off",
}
"""The phases that a person hears of, by what is so once they are done."""
OUTER = "cluster"
"""The phase that three others are parts of."""
_KUBECTLS = ("kubectl", "kubernetes kubectl", "k3s kubectl")


@dataclass
class StageLines:
    """A line with its seconds for every stage that is done; on a terminal also what is waited for."""

    console: Console
    status: Status | None = field(default=None, repr=False)

    def __call__(self, phase: str, seconds: float | None) -> None:
        """Hear of a phase (`workflows.run.site.Tell`)."""
        if phase == OUTER:
            return
        words = STAGES.get(phase) or f"on these addresses, Kubernetes: {phase.removeprefix(OUTER).strip()}"
        if seconds is None:
            if self.status:
                self.status.update(f"next: {words}")
            return
        self.console.print(f"{seconds:8.3f} s  {words}", highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Where there is a terminal, a last line that says what is waited for."""
        if not self.console.is_terminal:
            yield
            return
        with self.console.status("") as self.status:
            yield
        self.status = None


def kubectl() -> str:
    """How kubectl is called on this machine, as far as it is there."""
    return next((one for one in _KUBECTLS if shutil.which(one.split()[0])), "kubectl")


def how_to_use(record: ClusterRecord, master: str) -> Iterator[str]:
    """The lines that a person needs once it stands."""
    total = sum(value for name, value in record.seconds.items() if not name.startswith(f"{OUTER} "))
    address = record.over[master][1]
    yield f"{record.named} stands on {', '.join(record.over)}, after {total:.1f} s"
    yield f"API server: https://{address}:{API_PORT}; kubeconfig (0600): {record.kubeconfig}"
    if record.tunnel:
        yield "this machine has no way to that address; a tunnel is one:"
        yield f"  {record.tunnel} &"
    yield f"  {kubectl()} --kubeconfig {record.kubeconfig} get nodes"
    if record.scenario.policy != "allow-all":
        yield (
            f"the firewall's rules ({record.scenario.policy}) end by themselves after some hours: the same `up` renews"
            " them"
        )
    yield "it stays; look at it: vpnmesh cluster status; take it away: vpnmesh cluster down"


def show(console: Console, view: ClusterView, record: ClusterRecord) -> None:
    """Everything that was seen, for a person."""
    where = f"in the lab in {record.lab}" if record.lab else f"on {record.inventory}"
    say(console, f"{record.named} stands {where} since {record.since}")
    answer = "does not answer" if view.api_ms is None else f"answers in {view.api_ms:g} ms"
    say(console, f"API server: {answer}; kubeconfig: {record.kubeconfig}")
    console.print(_nodes(view))
    console.print(_pods(view))
    console.print(_paths(view))
    for trouble in view.troubles:
        say(console, f"not as it must be: {trouble}")
    if not view.troubles:
        say(console, "all nodes and measured pods are ready, every pair has its path, pods answer each other")


def say(console: Console, text: str) -> None:
    """A line as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _nodes(view: ClusterView) -> Table:
    table = Table("node", "ready", "address", "version", "why not")
    for one in view.state.nodes:
        table.add_row(one.name, "yes" if one.ready else "NO", one.address, one.version, one.reason)
    return table


def _pods(view: ClusterView) -> Table:
    table = Table("pod", "on", "ready", "address", "phase", "why not")
    for one in view.state.pods:
        name, ready = f"{one.namespace}/{one.name}", "yes" if one.ready else "NO"
        table.add_row(name, one.node, ready, one.address, one.phase, one.reason)
    return table


def _paths(view: ClusterView) -> Table:
    nodes = list(dict.fromkeys(one.node for one in view.paths))
    peers = sorted({one.peer for one in view.paths}, key=lambda peer: (peer not in nodes, peer))
    table = Table("from", *(f"to {peer}" for peer in peers))
    for node in nodes:
        found = {one.peer: one for one in view.paths if one.node == node}
        cells = [
            f"{one.path or 'NONE'} {one.endpoint}".strip() if (one := found.get(peer)) else ""
            for peer in peers
        ]
        table.add_row(node, *cells)
    return table
