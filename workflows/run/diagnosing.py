"""Asks the nodes why a pair's path is as it is; nothing is changed on them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nornir.core.task import Result

import tasks
from vpnmesh.doctor.judge import MUCH_SKEW_S
from vpnmesh.errors import VpnmeshError
from vpnmesh.host.pods import pod_address
from vpnmesh.model import Pair
from vpnmesh.plan import Text
from vpnmesh.solutions.protocol import Mesh, Solution, Status
from vpnmesh.solutions.ways import Ways
from vpnmesh.why import questions
from vpnmesh.why.judge import diagnose
from vpnmesh.why.judge_nodes import HUNG
from vpnmesh.why.observed import Observed, PodPings
from vpnmesh.why.state_of_path import seen_state
from vpnmesh.why.words import Diagnosis
from workflows.run.hosts import HostsFailedError, ask_each, run_on
from workflows.run.site import Site


def why(site: Site, solution: Solution, mesh: Mesh, pair: Pair) -> Diagnosis:
    """Look at the pair's path and judge it; a node that cannot be asked is a finding itself."""
    seen = observe(site, solution, mesh, pair)
    return Diagnosis(pair, seen_state(seen), tuple(diagnose(seen)))


def ask_why_not_up(site: Site, solution: Solution, mesh: Mesh) -> None:
    """Before a scenario that did not come up is removed: ask, and leave the answer to whoever keeps it."""
    if not site.asks_why:
        return
    try:
        site.diagnoses.append(why(site, solution, mesh, site.testbed.pairs[0]))
    except Exception as error:  # noqa: BLE001
        # whatever this is: that the scenario did not come up is what the run goes on with
        reason = f"why {mesh.scenario.name} did not come up could not be asked: {in_words(error)}"
        site.complaints.append(reason)


def in_words(error: BaseException) -> str:
    """The error in words; one that is not of our making with its kind."""
    return str(error) if isinstance(error, VpnmeshError) else f"{type(error).__name__}: {error}"


def standing(site: Site, solution: Solution, mesh: Mesh) -> Mesh:
    """The mesh with what its members publish of themselves, read again from the nodes on which it stands."""
    _, told = ask_each(site.nr, site.k8s, tasks.read_identity, solution=solution, mesh=mesh)
    found: dict[tuple[str, str], Text] = {
        (name, key): text for name, one in told.items() for key, text in one.result.items()
    }
    # one whose daemon is dead tells nothing: it is a peer that is not found, and silences no other member's status
    unknown = {(node.name, key): "" for node in mesh.members for _, key in found}
    return mesh.with_published({**unknown, **found})


def observe(site: Site, solution: Solution, mesh: Mesh, pair: Pair) -> Observed:
    """State, probes, state again; every question goes to all nodes at the same time."""
    names = (*questions.participants(mesh, pair), site.testbed.firewall.name)
    nodes = [name for name in dict.fromkeys(names) if name in site.all_nodes]
    wanted = {"solution": solution, "mesh": mesh}
    silent, skews = _ask(site, nodes, tasks.read_clock)
    nodes = [name for name in nodes if name not in silent]
    unread, before = _ask(site, nodes, tasks.read_path_state, **wanted)
    # a daemon that hangs would only be waited for
    able = [name for name, held in before.items() if not any(one.state in HUNG for one in held.daemons)]
    _, told = _told(site, able, wanted, pair)
    asked = _asked(mesh, solution, pair, nodes, told)
    failed, probed = _ask(site, list(asked), tasks.probe_ways, asked=asked)
    pods = _pods(site, mesh, pair, nodes)
    # once more: a packet may have changed the way
    mute, told = _told(site, able, wanted, pair)
    _, after = _ask(site, nodes, tasks.read_path_state, **wanted)
    return Observed(
        mesh,
        solution,
        pair,
        before,
        after,
        probed,
        {name: status for name, (status, _) in told.items()},
        {name: ways for name, (_, ways) in told.items() if ways},
        pods,
        {name: one.ahead_s for name, one in skews.items() if abs(one.ahead_s) - one.within_s > MUCH_SKEW_S},
        {name: str(error) for name, error in {**mute, **silent, **unread, **failed}.items()},
    )


def _ask(
    site: Site, names: Sequence[str], task: Callable[..., Result], **parameters: Any
) -> tuple[dict[str, VpnmeshError], dict[str, Any]]:
    """What failed, and the answers themselves, by node; no node is asked a second time."""
    try:
        return {}, {name: one.result for name, one in run_on(site.nr, names, task, **parameters).items()}
    except HostsFailedError as error:
        failed = {
            name: one if isinstance(one, VpnmeshError) else VpnmeshError(in_words(one))
            for name, one in error.errors.items()
        }
        return failed, {name: one.result for name, one in error.done.items()}


def _told(
    site: Site, nodes: Sequence[str], wanted: Mapping[str, Any], pair: Pair
) -> tuple[dict[str, VpnmeshError], dict[str, tuple[Status, Ways | None]]]:
    """What could not be read, and what the ends' daemons say."""
    peers = {pair.client: pair.server, pair.server: pair.client}
    ends = [name for name in peers if name in nodes]
    return _ask(site, ends, tasks.read_ways, **wanted, peers=peers)


def _asked(
    mesh: Mesh,
    solution: Solution,
    pair: Pair,
    nodes: Sequence[str],
    told: Mapping[str, tuple[Status, Ways | None]],
) -> dict[str, dict[str, Any]]:
    """What each node that takes part is to probe; a node that is silent is nobody's target."""
    statuses = {name: status for name, (status, _) in told.items()}
    overlays = questions.overlay_of(statuses, (pair.client, pair.server))
    peers = {pair.client: overlays[pair.server], pair.server: overlays[pair.client]}
    names = [name for name in questions.participants(mesh, pair) if name in nodes]
    return {
        name: questions.asked_of(mesh, solution, pair, name, names, peers.get(name, "")) for name in names
    }


def _pods(site: Site, mesh: Mesh, pair: Pair, nodes: Sequence[str]) -> PodPings | None:
    """What the client's pod hears of the server's; None where there are no pods, or nobody to ask."""
    bed = site.testbed
    if pair.client not in nodes:
        return None
    address = str(pod_address(bed, bed.node(pair.server)))
    parameters = {"address": address, "mtu": mesh.scenario.pod_mtu}
    return _ask(site, [pair.client], tasks.ping_pod, **parameters)[1].get(pair.client)
