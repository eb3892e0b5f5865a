"""What `workflows.doctor --cluster` looks at: whether these nodes can carry a Kubernetes cluster."""

from collections.abc import Iterator, Sequence

import tasks
from vpnmesh.cluster.protocol import ClusterRole, Installer
from vpnmesh.doctor.cluster import judge_cluster, judge_pod_mtu
from vpnmesh.doctor.finding import Check, Finding, fatal, good
from vpnmesh.model import Scenario
from workflows.run.hosts import ask_each
from workflows.run.lab import emulated
from workflows.run.requirements import lacking_for
from workflows.run.site import Site


def look_at_cluster(
    site: Site, names: Sequence[str], installer: Installer, scenarios: Sequence[Scenario]
) -> Iterator[Finding]:
    """Programs, cgroups, ports, swap, settings, clocks and other clusters of master and workers that answer."""
    members = [name for name in site.k8s if name in names]
    yield from _programs(site, members, installer)
    for role in ClusterRole:
        those = [
            name for name in members if (name == site.testbed.master.name) is (role is ClusterRole.MASTER)
        ]
        failed, found = ask_each(site.nr, those, tasks.read_cluster_answers, role=role)
        for name, result in found.items():
            yield from judge_cluster(name, role, result.result, emulated=emulated(site.testbed))
        for name, error in failed.items():
            yield fatal(Check.SSH, name, str(error), "look at the node by hand: it answered before")
    yield from judge_pod_mtu(scenarios)


def _programs(site: Site, members: Sequence[str], installer: Installer) -> Iterator[Finding]:
    if len(members) < len(site.k8s):
        # who does not answer is a finding already
        return
    lacking = list(lacking_for(site, installer))
    for program, nodes, way in lacking:
        for node in nodes:
            yield fatal(Check.CLUSTER, node, f"{installer.name} needs {program}, which is not there", way)
    if not lacking:
        programs = ", ".join(dict.fromkeys(one.name for one in installer.programs))
        yield good(Check.CLUSTER, installer.name, f"has its programs: {programs}")
