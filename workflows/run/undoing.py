"""What every node undoes by itself when its run falls silent: put there before it is made, so that no gap is left.

It is what the controller itself would do, for a node that has all of it: leaving takes the same steps whatever is
found, and a step that finds nothing does nothing.
"""

from collections.abc import Mapping
from types import MappingProxyType

from tasks.firewall.registry import driver_of
from vpnmesh.errors import CheckError
from vpnmesh.host import api_leftovers, pods
from vpnmesh.host.lease import NO_EMPTY_FOLDER, STAGE
from vpnmesh.impairment import deadman
from vpnmesh.plan import Command, Plan, at_most, chain
from vpnmesh.solutions.protocol import Mesh, Solution
from workflows.run.site import Site

NOTHING_MORE: Mapping[str, Plan] = MappingProxyType({})
"""Beside what every scenario has to undo."""


def promise(
    site: Site,
    solution: Solution | None = None,
    mesh: Mesh | None = None,
    more: Mapping[str, Plan] = NOTHING_MORE,
) -> None:
    """Have the nodes undo impairments, cluster, pods, VPN, firewall rules and settings of ours when we fall silent.

    Without a solution only the kernel settings: nothing else is there. `more` is what single nodes undo first.
    CheckError where the lease was lost.
    """
    if site.lease is None:
        return
    plans = {name: _settings(site.lease.settings.get(name, {})) for name in site.all_nodes}
    if solution is not None and mesh is not None:
        plans = {name: _scenario(site, solution, mesh, name) + plan for name, plan in plans.items()}
    plans = {name: more.get(name, Plan()) + plan for name, plan in plans.items()}
    site.lease.promise(plans)


def promise_settings(site: Site, former: Mapping[str, Mapping[str, str]]) -> None:
    """Have the nodes set these kernel settings again, which they had before they are changed, when we fall silent."""
    if site.lease is not None:
        site.lease.settings = {name: dict(values) for name, values in former.items()}
        promise(site)


def _scenario(site: Site, solution: Solution, mesh: Mesh, name: str) -> Plan:
    node, carries_pods = site.testbed.node(name), name in site.k8s
    plans = [Plan((deadman.lift_all(),))]
    try:
        if carries_pods and site.installer is not None:
            plans.append(at_most(site.installer.leave(site.testbed, node)))
        plans += [at_most(pods.detached())] if carries_pods else []
        plans.append(at_most(solution.leave(mesh, node)))
        plans += [at_most(api_leftovers.removed())] if carries_pods else []
    except (ValueError, LookupError) as error:
        reason = (
            f"leaving {solution.name} cannot be planned in advance, its `leave` reads what it finds: {error}"
        )
        raise CheckError(STAGE, reason) from error
    return chain([*plans, _firewall(site, name), Plan((NO_EMPTY_FOLDER,))])


def _firewall(site: Site, name: str) -> Plan:
    take_back = driver_of(site.nr.inventory.hosts[name]).take_back
    if name != site.testbed.firewall.name or take_back is None:
        return Plan()
    return Plan(take_back(site.testbed))


def _settings(values: Mapping[str, str]) -> Plan:
    return Plan(tuple(Command(("sysctl", "-q", "-w", f"{key}={value}")) for key, value in values.items()))
