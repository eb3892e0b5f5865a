"""Whether the nodes have all that a scenario needs, before anything is touched: programs, versions, folders."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from nornir.core.task import Result

import tasks
from vpnmesh.cluster.protocol import ClusterProgram, ClusterRole, Installer
from vpnmesh.errors import UnavailableError
from vpnmesh.host.binaries import way_to
from vpnmesh.lab.binaries import pinned
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.protocol import Needed, Side
from vpnmesh.model import Path, Scenario
from vpnmesh.solutions import SOLUTIONS, solution_named
from vpnmesh.solutions.protocol import Binary, Mesh, MeshRole, Solution
from vpnmesh.study.matrix import MatrixPlan
from vpnmesh.study.programs import is_version, program_of, solution_from, told_version
from workflows.run.hosts import run_on
from workflows.run.site import Site

Lacking = tuple[str, tuple[str, ...], str]
"""A program that is missing, the nodes that lack it, and the way to it in words."""


def require(site: Site, scenario: Scenario) -> Solution:
    """The scenario's solution, with all its programs where they are needed; UnavailableError says what is missing.

    That is a program, its version or its folder; nothing was touched by then.
    """
    if scenario.solution not in SOLUTIONS:
        raise UnavailableError(f"no module for {scenario.solution} yet")
    if reason := site.foreign.get(scenario.solution):
        raise UnavailableError(reason)
    solution = solution_from(solution_named(scenario.solution), scenario)
    mesh = Mesh(site.testbed, scenario)
    _require_a_relay_between(site, scenario)
    if reason := solution.unbuildable_reason(mesh):
        raise UnavailableError(reason)
    lacking = [one for role in MeshRole for one in _lacking(site, solution, mesh, role)]
    if site.installer is not None:
        lacking += lacking_for(site, site.installer)
    if lacking:
        raise UnavailableError(lacking_words(lacking))
    if program := program_of(solution):
        _require_folder(site, mesh, program)
        _require_version(site, solution, mesh, program)
    # a solution whose deployment is not built says so here, before anything is touched
    solution.stages(mesh)
    return solution


def _require_a_relay_between(site: Site, scenario: Scenario) -> None:
    """A path from a node to itself is relayed by nobody."""
    relay, pair = site.testbed.relay.name, site.testbed.pairs[0]
    if scenario.path is Path.RELAY and relay in (pair.client, pair.server):
        raise UnavailableError(
            f"the relay node {relay} is an end of the measured pair {pair}, so nothing between them "
            "is relayed; give the role to a node of its own, or to the master"
        )


def lacking_for(site: Site, installer: Installer) -> Iterator[Lacking]:
    """Each program of a cluster that master or workers lack, with the nodes and the way to it."""
    places = ":".join(dict.fromkeys(folder for one in installer.programs for folder in one.folders))
    names = tuple(dict.fromkeys(name for one in installer.programs for name in (one.name, *one.stand_ins)))
    found = run_on(site.nr, site.k8s, tasks.find_binaries, programs=names, folder=places)
    there = {host: {name for name, place in one.result.items() if place} for host, one in found.items()}
    for program in installer.programs:
        nodes = [node.name for node in site.testbed.k8s if _cluster_role(site, node.name) in program.at]
        without = tuple(node for node in nodes if not program.served_by(there[node]))
        if without:
            yield program.name, without, way_to_program(program, partial(_machine, site, without[0]))


def way_to_program(program: ClusterProgram, machine: Callable[[], str]) -> str:
    """The way to a cluster's missing program, in words."""
    if program.package:
        return f"Debian package {program.package}"
    return program.way or way_to(pinned(), program.name, machine())


def _cluster_role(site: Site, node: str) -> ClusterRole:
    return ClusterRole.MASTER if node == site.testbed.master.name else ClusterRole.WORKER


def lacking_words(lacking: Iterable[Lacking]) -> str:
    """What is missing, a program once with all nodes that lack it; the one thing to do is written out once."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for name, hosts, way in lacking:
        nodes.setdefault((name, way), []).extend(hosts)
    programs: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for (name, way), where in nodes.items():
        programs.setdefault((tuple(dict.fromkeys(where)), way), []).append(name)
    said, parts = set[str](), list[str]()
    for (on_nodes, way), names in programs.items():
        on = f" on {', '.join(on_nodes)}" if on_nodes else ""
        parts.append(f"no binary {', '.join(names)}{on} ({'the same way' if way in said else way})")
        said.add(way)
    return "; ".join(parts)


def require_tests(site: Site, plan: MatrixPlan) -> dict[str, str]:
    """The tests of the plan whose own programs a node of theirs lacks, and why; no scenario can change that."""
    wanted = {test: needed_on(plan, test) for test in plan.profile.tests}
    nodes = list(dict.fromkeys(node for one in wanted.values() for _, names in one for node in names))
    programs = tuple(
        dict.fromkeys(name for one in wanted.values() for needed, _ in one for name in needed.any_of)
    )
    found = run_on(site.nr, nodes, tasks.find_binaries, programs=programs) if nodes else {}
    return lacking_tests(wanted, lambda node, name: bool(found[node].result[name]))


def needed_on(plan: MatrixPlan, test: str) -> list[tuple[Needed, tuple[str, ...]]]:
    """The programs that a test needs, each with the nodes that need it: clients, or servers, of its pairs."""
    pairs = list(dict.fromkeys(one.cell.pair for one in plan.cells if one.cell.test == test))
    sides: dict[Side, tuple[str, ...]] = {
        "client": tuple(dict.fromkeys(pair.client for pair in pairs)),
        "server": tuple(dict.fromkeys(pair.server for pair in pairs)),
    }
    return [(one, sides.get(one.side, ())) for one in measurement_named(test).needed]


def lacking_tests(
    wanted: Mapping[str, Sequence[tuple[Needed, tuple[str, ...]]]], has: Callable[[str, str], bool]
) -> dict[str, str]:
    """Why tests cannot be made, by test; `has` says whether a node has a program. None of what can be is in it."""
    reasons: dict[str, str] = {}
    for test, programs in wanted.items():
        lacking: list[Lacking] = []
        for needed, nodes in programs:
            if without := tuple(node for node in nodes if not any(has(node, name) for name in needed.any_of)):
                way = f"Debian package {needed.package}" if needed.package else needed.way
                lacking.append((needed.any_of[0], without, way or "put it on the node's PATH"))
        if lacking:
            reasons[test] = lacking_words(lacking)
    return reasons


def _lacking(site: Site, solution: Solution, mesh: Mesh, role: MeshRole) -> Iterator[Lacking]:
    """Each program that the nodes of a role lack, with the nodes and the way to it."""
    wanted = {binary.name: binary for binary in solution.needed(mesh.scenario) if binary.at is role}
    nodes = [node.name for node in mesh.nodes_in(role)] if wanted else []
    found = _found(site, mesh, nodes, tuple(wanted))
    for name, binary in wanted.items():
        without = tuple(host for host, result in found.items() if not result.result[name])
        if without := _without_link(site, without, binary):
            yield name, without, _way(site, mesh, without[0], binary)


def _without_link(site: Site, hosts: tuple[str, ...], binary: Binary) -> tuple[str, ...]:
    """The hosts whose kernel cannot stand in for a program that they lack."""
    if not hosts or not binary.or_link:
        return hosts
    made = run_on(site.nr, hosts, tasks.makes_link, kind=binary.or_link)
    return tuple(host for host in hosts if not made[host].result)


def _found(site: Site, mesh: Mesh, nodes: Sequence[str], programs: tuple[str, ...]) -> Mapping[str, Result]:
    """Where these nodes have the programs, by node; the scenario's folder is looked in first."""
    folder = mesh.scenario.program_folder
    return run_on(site.nr, nodes, tasks.find_binaries, programs=programs, folder=folder)


def _require_folder(site: Site, mesh: Mesh, program: Binary) -> None:
    """Every member has the program in the scenario's folder: from elsewhere it would be another one, unnoticed."""
    if not (folder := mesh.scenario.program_folder.rstrip("/")):
        return
    found = _found(site, mesh, site.k8s, (program.name,))
    elsewhere = [host for host, one in found.items() if not one.result[program.name].startswith(f"{folder}/")]
    if elsewhere:
        known = _pinned_for(folder, program.name)
        way = _way(site, mesh, elsewhere[0], program) if known else "put it there, or change program_folder"
        raise UnavailableError(
            f"no {program.name} in {folder} on {', '.join(elsewhere)}, where {mesh.scenario.name} wants it ({way})"
        )


def _require_version(site: Site, solution: Solution, mesh: Mesh, program: Binary) -> None:
    """The program is of the scenario's version on every node that has a part in the mesh with it."""
    scenario = mesh.scenario
    if not scenario.version:
        return
    seats = [one.at for one in solution.needed(scenario) if one.name == program.name]
    nodes = tuple(dict.fromkeys(node.name for seat in seats for node in mesh.nodes_in(seat)))
    told = run_on(site.nr, nodes, tasks.read_version, argv=program.version, folder=scenario.program_folder)
    others: dict[str, list[str]] = {}
    for host, one in told.items():
        if not is_version(scenario.version, one.result):
            others.setdefault(told_version(one.result), []).append(host)
    if others:
        said = "; ".join(f"{program.name} is {found} on {', '.join(who)}" for found, who in others.items())
        way = "install it there, or keep it in a folder of its own and write program_folder"
        raise UnavailableError(f"{said}; {scenario.name} wants {scenario.version} ({way})")


def _pinned_for(folder: str, program: str) -> bool:
    """Whether binaries.toml says how a program gets into a scenario's own folder."""
    wanted = folder.rstrip("/")
    return bool(wanted) and any(one.folder == wanted and program in one.programs for one in pinned())


def way_of(wanted: Binary, folder: str, machine: Callable[[], str]) -> str:
    """The way to a missing program, in words, for a scenario's own folder ("" = PATH); `machine` as `uname -m` says."""
    if wanted.package and not _pinned_for(folder, wanted.name):
        return f"Debian package {wanted.package}"
    return way_to(pinned(), wanted.name, machine(), folder)


def _way(site: Site, mesh: Mesh, host: str, wanted: Binary) -> str:
    return way_of(wanted, mesh.scenario.program_folder, lambda: _machine(site, host))


def _machine(site: Site, host: str) -> str:
    """Each node by its own processor: a mesh may mix them."""
    return str(run_on(site.nr, [host], tasks.read_version, argv=("uname", "-m"))[host].result)
