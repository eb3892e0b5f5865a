"""A cluster over a VPN that stays: raised in the order that works, looked at, and taken down again."""

import contextlib
import shlex
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

import tasks
from inventory.host_keys import LOGIN
from vpnmesh.cluster.protocol import API_PORT
from vpnmesh.cluster.tunnel import through_tunnel, tunnel
from vpnmesh.errors import CheckError, VpnmeshError
from vpnmesh.host.sysctls import REDIRECTS
from vpnmesh.lab.lifecycle import down, up
from vpnmesh.model import Scenario
from vpnmesh.plan import Secret, reveal
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh, Solution
from workflows.run import provenance
from workflows.run.cluster import refuse_other_clusters
from workflows.run.cluster_record import ClusterFiles, ClusterPhase, ClusterRecord, now, written
from workflows.run.cluster_view import prove_pods
from workflows.run.foreign import refuse_foreign
from workflows.run.hosts import run_on
from workflows.run.lease import forget_leases, leased
from workflows.run.provision import Provisioned, deploy, save_logs, take_off
from workflows.run.requirements import require
from workflows.run.settings import put_settings_back, settings_now
from workflows.run.site import Site

STAGE = "cluster"
SSH_PORT = 22
REACH_S = 1.0
"""How long the API server may take to accept a connection from this machine, else a tunnel is told."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to stand, and where its kubeconfig goes."""

    record: ClusterRecord
    files: ClusterFiles
    kubeconfig: Path


def raise_standing(site: Site, wanted: Wanted) -> ClusterRecord:
    """Bring the lab up where there is none, then VPN, cluster and proof, and leave all of it standing.

    Whatever interrupts that takes off again all that was made. What could not be taken off becomes a complaint of the
    site; then the record stays, so that `end` can go on.
    """
    record, files = wanted.record, wanted.files
    files.write(record)
    touched = False
    try:
        record = in_lab(site, record)
        files.write(record)
        with leased(site, _held_by(files), again=True):
            solution = ready_to_start(site, record.scenario)
            settings = settings_now(site, [REDIRECTS])
            record = replace(record, footprint=provenance.footprint(site), settings=settings)
            files.write(record)
            touched = True
            deployed = deploy(site, solution, record.scenario)
            with deployed.set_up.phase("answers"):
                prove_pods(site)
            record = _stood_up(site, record, deployed, wanted.kubeconfig)
            files.write(record)
    except BaseException as error:
        if touched and isinstance(error, VpnmeshError):
            save_logs(site)
        site.tell("removing", None)
        left = end(site, record, files, touched=touched)
        site.complaints = left
        raise
    return record


def _held_by(files: ClusterFiles) -> str:
    """Whose lease it is while it is raised: there is one cluster per state directory."""
    return f"cluster of {files.path} on {socket.gethostname()}"


def in_lab(site: Site, record: ClusterRecord) -> ClusterRecord:
    """The record in the lab that is up, or in one that is brought up for it and stays; as it is on real machines."""
    if not record.lab:
        return record
    site.tell("lab", None)
    lab = up(site.testbed, kubernetes=True, owned=False)
    site.tell("lab", sum(step.seconds for step in lab.timings) if record.lab_is_ours else 0.0)
    return replace(record, lab_pid=lab.init_pid)


def ready_to_start(site: Site, scenario: Scenario) -> Solution:
    """The scenario's solution, once nothing is in the way; else UnavailableError or CheckError, nothing touched."""
    refuse_foreign(site)
    solution = require(site, scenario)
    refuse_other_clusters(site)
    return solution


def _stood_up(site: Site, record: ClusterRecord, deployed: Provisioned, kubeconfig: Path) -> ClusterRecord:
    """The record of what stands, its kubeconfig written."""
    raised = deployed.cluster
    if raised is None:
        raise CheckError(STAGE, "no cluster was raised")
    master, cluster = site.testbed.master, raised.cluster
    results = run_on(
        site.nr, [master.name], tasks.read_kubeconfig, installer=raised.installer, cluster=cluster
    )
    text, address = results[master.name].result, cluster.address(master)
    there = not record.lab and answers(address)
    record = replace(
        record,
        phase=ClusterPhase.STANDING,
        since=now(),
        over={node.name: (cluster.interface(node), cluster.address(node)) for node in cluster.members},
        published=_openly(deployed.mesh),
        seconds={**deployed.set_up.seconds, **_inner(deployed)},
        tunnel="" if there else shlex.join(tunnel(login(site, master.name), address)),
    )
    return written(record, kubeconfig, reveal(text if there else through_tunnel(text, address)))


def answers(address: IPv4Address) -> bool:
    """Whether the API server can be reached from this machine."""
    try:
        with socket.create_connection((str(address), API_PORT), timeout=REACH_S):
            return True
    except OSError:
        return False


def login(site: Site, name: str) -> tuple[str, ...]:
    """The words that log in on a node, as the inventory has them: key, host keys, port, user."""
    host = site.nr.inventory.hosts[name]
    extras = host.get_connection_parameters(LOGIN).extras or {}
    options = (
        ("-i", extras.get("key_file")),
        ("-o", "StrictHostKeyChecking=yes"),
        ("-o", _known_hosts(extras)),
        ("-p", host.port),
    )
    given = [str(word) for option in options if option[1] and option[1] != SSH_PORT for word in option]
    return ("ssh", *given, f"{host.username or ''}@{host.hostname}".lstrip("@"))


def _known_hosts(extras: Mapping[str, object]) -> str:
    return f"UserKnownHostsFile={extras['alt_key_file']}" if extras.get("alt_key_file") else ""


def _openly(mesh: Mesh) -> tuple[tuple[str, str, str], ...]:
    """What members published that is no secret."""
    found = mesh.published.items()
    return tuple((node, key, value) for (node, key), value in found if not isinstance(value, Secret))


def _inner(deployed: Provisioned) -> dict[str, float]:
    raised = deployed.cluster
    return {f"cluster {name}": value for name, value in raised.set_up.seconds.items()} if raised else {}


def end(site: Site, record: ClusterRecord, files: ClusterFiles, *, touched: bool = True) -> list[str]:
    """Take everything off every node, and the lab down that was brought up for it; returns what is left, if anything.

    The record goes unless something could not be taken off: then it says what to go on with.
    """
    left: list[str] = []
    if touched and not record.lab_is_gone:
        left = lower(site, record, files)
    if record.lab_is_ours:
        # with the lab all is gone that was in it, also what could not be taken off one by one
        left = [*(one for one in left if not files.record.exists()), *down(Path(record.lab))]
        files.forget(record)
    elif not touched or record.lab_is_gone:
        files.forget(record)
    return left


def lower(site: Site, record: ClusterRecord, files: ClusterFiles) -> list[str]:
    """Take cluster, pods, VPN and firewall policy off every node; what could not be, else what differs from before."""
    with contextlib.suppress(CheckError):  # of a full disk: what was made must be taken off all the same
        files.write(replace(record, phase=ClusterPhase.REMOVING))
    take_off(site, solution_named(record.scenario.solution), Mesh(site.testbed, record.scenario))
    put_settings_back(site, record.settings)
    # of an `up` that was killed; nodes that do not answer are among the complaints
    forget_leases(site, _held_by(files))
    if complaints := without_repetition(site.take_complaints()):
        return complaints
    files.forget(record)
    return _differences(site, record)


def without_repetition(complaints: Sequence[str]) -> list[str]:
    """Each once: a node that does not answer says the same at every step."""
    return list(dict.fromkeys(one.partition(": ")[2] or one for one in complaints))


def _differences(site: Site, record: ClusterRecord) -> list[str]:
    if not record.footprint:
        return []
    try:
        return provenance.compare_footprints(record.footprint, provenance.footprint(site))
    except VpnmeshError as error:
        return [f"what is left on the nodes could not be read: {error}"]
