"""Everything that `workflows.doctor` looks at, as findings: this machine, then all nodes over SSH."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tasks
from tasks.firewall.journal import default_directory
from tasks.firewall.registry import driver_of
from vpnmesh.cluster.protocol import Installer
from vpnmesh.doctor.finding import Check, Finding, fatal, good, warning
from vpnmesh.doctor.judge import judge, judge_alike, judge_clock, judge_leftovers, judge_mtu
from vpnmesh.doctor.likeness import differences, untold, versions
from vpnmesh.errors import InputError, UnavailableError
from vpnmesh.host.probes import Program
from vpnmesh.lab.directory import lab_directory
from vpnmesh.lab.lifecycle import find
from vpnmesh.lab.nfqueue.build import binary_path
from vpnmesh.lab.substrate import examine, require
from vpnmesh.model import K8S_ROLES, NodeKind, Role, Testbed
from vpnmesh.solutions import all_interfaces
from vpnmesh.study.scenarios import BUILT_IN, Catalogue
from workflows.run import provenance, requirements
from workflows.run.cluster_checks import look_at_cluster
from workflows.run.hosts import ask_each, run_on
from workflows.run.lab import emulated
from workflows.run.site import Site

CONTROLLER = "this machine"
LITTLE_DISK_BYTES = 10**9
FEW_CORES = 2

_ANY = frozenset(Role)
TOOLS: tuple[tuple[Program, frozenset[Role]], ...] = (
    (Program("timeout", "coreutils"), _ANY),
    (Program("ip", "iproute2"), _ANY),
    (Program("tc", "iproute2"), _ANY),
    (Program("ping", "iputils-ping"), _ANY),
    (Program("ps", "procps"), _ANY),
    (Program("sysctl", "procps"), _ANY),
    (Program("ethtool", "ethtool"), _ANY),
    (Program("unshare", "util-linux"), _ANY),
    (Program("iperf3", "iperf3"), K8S_ROLES),
)
"""Programs without which no run is possible, and the roles whose nodes need them; a driver names the firewall's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is to be made of: an inventory by name, and scenarios of the catalogue.

    `asked` says that somebody named them: then a run without one of them is not what was asked for. `installer` is of
    the cluster that is to lie over every scenario.
    """

    inventory: str
    scenarios: Sequence[str]
    catalogue: Catalogue = BUILT_IN
    asked: bool = True
    installer: Installer | None = None


def look_at_machine(testbed: Testbed) -> Iterator[Finding]:
    """Look at cores and disk; for a lab at rights, kernel and programs; and for what earlier runs left here."""
    cores, disk = len(os.sched_getaffinity(0)), shutil.disk_usage(Path.cwd())
    said = f"{cores} cores, {disk.free / 1e9:.1f} GB free for runs"
    if disk.free < LITTLE_DISK_BYTES:
        yield warning(Check.MACHINE, CONTROLLER, said, "make room: a run keeps every tool's raw output")
    elif emulated(testbed) and cores < FEW_CORES:
        yield warning(Check.MACHINE, CONTROLLER, said, "give it a second core: client and server share it")
    else:
        yield good(Check.MACHINE, CONTROLLER, said)
    if emulated(testbed):
        yield from _look_at_substrate()
    yield from _look_for_debris()


def _look_at_substrate() -> Iterator[Finding]:
    if os.geteuid() != 0:
        yield fatal(Check.MACHINE, CONTROLLER, "not root, and a lab needs namespaces", "run it with sudo")
        return
    substrate = examine()
    try:
        require(substrate, shaped=True)
    except UnavailableError as error:
        yield fatal(Check.KERNEL, CONTROLLER, str(error), "docs/lab.md says what a lab needs")
    able = [one.name for one in substrate.capabilities if one.available]
    lacking = [one.name for one in substrate.capabilities if not one.available]
    without = f", not {', '.join(lacking)} (not needed)" if lacking else ""
    yield good(Check.KERNEL, CONTROLLER, f"{substrate.kernel}: {', '.join(able)}{without}")
    if not substrate.has("netem") and not binary_path().is_file():
        said = "no netem in this kernel, and the lab's own engine is not built"
        yield fatal(Check.BINARIES, CONTROLLER, said, "make engine")
    for program in substrate.missing:
        said = f"{program.name} is not installed"
        yield warning(Check.BINARIES, CONTROLLER, said, f"apt-get install {program.package}")


def _look_for_debris() -> Iterator[Finding]:
    place = lab_directory(None)
    if place.path.exists() and find() is None:
        said = f"{place.path} is of a lab that was killed"
        yield warning(
            Check.LEFTOVERS, CONTROLLER, said, "python -m vpnmesh.lab down (the next lab removes it too)"
        )
    for journal in sorted(default_directory().glob("*@*.json")):
        run = journal.name.partition("@")[0]
        do = f"python -m workflows.teardown --run {run} --inventory ..."
        yield warning(Check.LEFTOVERS, CONTROLLER, f"changes of run {run} may still be on a firewall", do)


def look_at_nodes(site: Site, wanted: Wanted) -> Iterator[Finding]:
    """Every node over SSH; those that do not answer are one finding each, and are asked nothing more."""
    refused, clocks = ask_each(site.nr, site.all_nodes, tasks.read_clock)
    for name, error in refused.items():
        do = f"try `ssh {_login(site, name)} sudo -n true`: address, host key, user's key, sudo without password"
        yield fatal(Check.SSH, name, str(error), do)
    names = list(clocks)
    for name, result in clocks.items():
        yield good(Check.SSH, name, "logged in, commands run as root")
        yield judge_clock(name, result.result)
    if appliances := sorted({node.name for node in site.testbed.nodes} - set(site.all_nodes)):
        yield good(Check.SSH, ", ".join(appliances), "not asked: see workflows.doctor --firewall")
    if not names:
        return
    yield from _look_at_answers(site, names, wanted)
    yield from _look_at_programs(site, names)
    if wanted.installer is not None:
        chosen = [wanted.catalogue.named(name) for name in wanted.scenarios]
        yield from look_at_cluster(site, names, wanted.installer, chosen)
    if not refused:
        yield from _look_at_scenarios(site, wanted)
        yield from _look_at_netem(site)


def _look_at_answers(site: Site, names: list[str], wanted: Wanted) -> Iterator[Finding]:
    bed = site.testbed
    interfaces = all_interfaces()
    failed, answers = ask_each(site.nr, names, tasks.read_answers, testbed=bed)
    for name, result in answers.items():
        yield from judge(bed.node(name), result.result, interfaces)
    lost, footprints = ask_each(site.nr, names, tasks.read_footprint)
    for name, result in footprints.items():
        yield from judge_leftovers(name, result.result, interfaces, wanted.inventory)
    senders = [name for name in names if name != bed.firewall.name]
    mute, mtus = ask_each(site.nr, senders, tasks.probe_path_mtu, testbed=bed)
    chosen = [wanted.catalogue.named(name) for name in wanted.scenarios]
    for name, result in mtus.items():
        yield from judge_mtu(bed, bed.node(name), result.result, chosen, asked=wanted.asked)
    for name, error in {**failed, **lost, **mute}.items():
        yield fatal(Check.SSH, name, str(error), "look at the node by hand: it answered before")
    about = provenance.node_answers(site, names)
    yield good(Check.BINARIES, "versions", "; ".join(versions(about)))
    yield from judge_alike(differences(about), untold(about))


def _look_at_programs(site: Site, names: list[str]) -> Iterator[Finding]:
    firewall = site.testbed.firewall.name
    of_driver = driver_of(site.nr.inventory.hosts[firewall]).programs
    wanted = tuple(tool.name for tool in (*(tool for tool, _ in TOOLS), *of_driver))
    _, found = ask_each(site.nr, names, tasks.find_binaries, programs=wanted)
    for name, result in found.items():
        needed = [tool for tool, roles in TOOLS if roles & site.testbed.node(name).roles]
        needed += of_driver if name == firewall else ()
        missing = [tool for tool in needed if not result.result[tool.name]]
        for tool in missing:
            do = f"apt-get install {tool.package}"
            yield fatal(Check.BINARIES, name, f"{tool.name} is not installed", do)
        if not missing:
            yield good(Check.BINARIES, name, f"{', '.join(tool.name for tool in needed)}")


def _look_at_scenarios(site: Site, wanted: Wanted) -> Iterator[Finding]:
    """A chosen scenario that is not possible here would be a row without figures; of others it is good to know.

    It fails what was asked for by name; of a profile's own the others still make a run.
    """
    wrong = fatal if wanted.asked else warning
    able = []
    for name in wanted.catalogue.names:
        try:
            requirements.require(site, wanted.catalogue.named(name))
        except UnavailableError as error:
            if name in wanted.scenarios:
                do = "install what is missing (docs/binaries.md), or leave it out with --scenarios"
                yield wrong(Check.BINARIES, name, str(error), do)
        else:
            able.append(name)
    others = [name for name in wanted.catalogue.names if name not in able and name not in wanted.scenarios]
    without = f"; not possible and not asked for: {', '.join(others)}" if others else ""
    yield good(Check.BINARIES, "scenarios", f"possible: {', '.join(able)}{without}")


def _look_at_netem(site: Site) -> Iterator[Finding]:
    """A real testbed needs netem where impairments are set; a lab has an engine of its own."""
    bed = site.testbed
    impaired = (node for node in (bed.client, bed.server, bed.firewall) if node.kind is not NodeKind.NETNS)
    ends = [node.name for node in impaired if node.name in site.all_nodes]
    for name, result in run_on(site.nr, ends, tasks.has_netem).items():
        if result.result:
            yield good(Check.KERNEL, name, "has netem")
        else:
            yield fatal(
                Check.KERNEL, name, "no netem", "modprobe sch_netem (package linux-modules-extra on Ubuntu)"
            )


def _login(site: Site, name: str) -> str:
    host = site.nr.inventory.hosts[name]
    return f"{host.username or ''}@{host.hostname}".lstrip("@")


def refused_inventory(error: InputError, inventory: str) -> Finding:
    """An inventory that breaks a rule, as the only finding that there can be."""
    do = error.way_out or f"correct it; python -m workflows.inventory validate {inventory}"
    return fatal(Check.INVENTORY, error.place, error.problem, do)
