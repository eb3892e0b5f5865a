"""Pods of a real Kubernetes cluster against the lab's own pods: TCP, UDP, CPU of the nodes, in turns.

The same nodes, `native-1450`, the same tasks: once the pods are network namespaces, once kubelet and containerd run
them and CNI plugins connect them; iperf3 is started in the network of the one or the other. At the port rate of the
paper's switch and unshaped. CPU is what the kernel counted for a node's group meanwhile, in percent of one core; `idle`
measures nothing. Memory is without files.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from statistics import median

from rich.console import Console

import tasks
from bench.figures import Figure, Size, spread
from bench.sandbox import lab_site
from vpnmesh.cluster import installer_named
from vpnmesh.errors import UnavailableError
from vpnmesh.lab.cgroup_tree import Used, used_by
from vpnmesh.lab.cgroups import plan_cgroups
from vpnmesh.lab.directory import lab_directory
from vpnmesh.lab.lifecycle import DEFAULT_PORT_RATE_MBIT_S
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.protocol import Question, Settings
from vpnmesh.study.scenarios import scenario_named
from workflows.run.hosts import run_on
from workflows.run.provision import provisioned
from workflows.run.requirements import lacking_for, lacking_words
from workflows.run.site import Site

INSTALLER = "kubernetes"
SCENARIO = "native-1450"
TESTS = ("tcp", "udp", "idle")
RATE, RAISED = "Mbit/s", "s"
MEMORY, THREADS = "MB of all three nodes", "threads of the fullest node"
_LAB_PODS, _REAL_PODS = "lab pods", "real pods"

Found = dict[tuple[str, str, str], list[float]]
"""Values by kind of pods, test and quantity."""


@contextmanager
def cluster_site(port_rate_mbit_s: float | None) -> Iterator[Site]:
    """A lab whose nodes have all that a cluster needs; UnavailableError names what is missing."""
    installer = installer_named(INSTALLER)
    with lab_site(port_rate_mbit_s, kubernetes=True) as site:
        if lacking := list(lacking_for(site, installer)):
            raise UnavailableError(lacking_words(lacking))
        yield replace(site, installer=installer)


def measured(site: Site, test: str, duration_s: int) -> Mapping[str, float]:
    """One repetition by the very task that the matrix uses: its rate, and what the nodes spent meanwhile."""
    bed, measurement = site.testbed, measurement_named(test)
    question = Question(bed, bed.pairs[0], settings=Settings(duration_s, steady=False))
    parameters = {"measurement": measurement, "question": question, "others": site.nr.inventory.hosts}
    before, begun = used(site), time.monotonic()
    raw = run_on(site.nr, [bed.client.name], tasks.measure, **parameters)[bed.client.name].result
    after, seconds = used(site), time.monotonic() - begun
    found = {f"{name} CPU %": (after[name].cpu_s - before[name].cpu_s) / seconds * 100 for name in after}
    if test == "idle":
        found[MEMORY] = sum(one.memory_bytes for one in after.values()) / 1e6
        found[THREADS] = float(max(one.processes for one in after.values()))
    rate = measurement.parse(raw, question).get("rate_mbit_s")
    return found if rate is None else {RATE: rate, **found}


def used(site: Site) -> dict[str, Used]:
    """What the kernel has counted for master and the measured workers so far."""
    plan, bed = plan_cgroups(lab_directory(None).path), site.testbed
    return {node.name: used_by(plan, node.name) for node in (bed.master, bed.client, bed.server)}


def turn(site: Site, duration_s: int, kind: str, found: Found) -> None:
    """Deploy the scenario with one kind of pods, measure every test once, remove it again."""
    installer = site.installer if kind == _REAL_PODS else None
    with provisioned(replace(site, installer=installer), scenario_named(SCENARIO)) as deployed:
        if deployed.cluster:
            found.setdefault((kind, "raised", RAISED), []).append(
                sum(deployed.cluster.set_up.seconds.values())
            )
        for test in TESTS:
            for quantity, value in measured(site, test, duration_s).items():
                found.setdefault((kind, test, quantity), []).append(value)


def compare(console: Console, rate: float | None, turns: int, duration_s: int) -> list[Figure]:
    """Both kinds in turns on one lab; which goes first changes with every turn."""
    found: Found = {}
    where = "unshaped" if rate is None else f"{rate:g} Mbit/s"
    with cluster_site(rate) as site:
        for number in range(turns):
            kinds = (_LAB_PODS, _REAL_PODS)
            for kind in kinds if number % 2 == 0 else reversed(kinds):
                console.print(
                    f"cluster: {where}, {kind} {number + 1} of {turns}", style="dim", highlight=False
                )
                turn(site, duration_s, kind, found)
    rows = [key for key in found if key[0] == _REAL_PODS and key[1] != "raised"]
    raised = Figure(f"{where}, cluster until ready", f"{spread(found[_REAL_PODS, 'raised', RAISED], 1)} s")
    return [*(_figure(found, where, test, quantity) for _, test, quantity in rows), raised]


def run(console: Console, size: Size) -> list[Figure]:
    """Medians of both kinds, and their ratio."""
    turns, duration_s = size.of(3, 1), size.of(6, 1)
    rates = (DEFAULT_PORT_RATE_MBIT_S, None) if size is Size.FULL else (DEFAULT_PORT_RATE_MBIT_S,)
    return [one for rate in rates for one in compare(console, rate, turns, duration_s)]


def _figure(found: Found, where: str, test: str, quantity: str) -> Figure:
    real, own = found[_REAL_PODS, test, quantity], found[_LAB_PODS, test, quantity]
    digits = 0 if quantity == RATE else 1
    ratio = f"{median(real) / median(own):.2f}" if round(median(own), digits) else "-"
    return Figure(
        f"{SCENARIO} {where}, {test}, {quantity}",
        f"{spread(real, digits)} real pods",
        f"{spread(own, digits)} lab pods",
        ratio,
    )
