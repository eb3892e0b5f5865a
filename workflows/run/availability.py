"""Which scenarios can be attempted here, and with which programs: told before anything is touched.

A plan of the lab is answered on this machine, whose programs the lab's nodes run; nodes that are up are asked
themselves.
"""

import contextlib
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vpnmesh.cluster.protocol import ClusterProgram, Installer
from vpnmesh.errors import InputError, UnavailableError
from vpnmesh.lab.roots import SEARCH
from vpnmesh.lab.substrate import try_inside
from vpnmesh.model import Scenario, Testbed
from vpnmesh.report.identity import identity
from vpnmesh.report.versions import NOT_TOLD, UsedProgram, told_versions, used_programs
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Binary, Mesh, Solution
from vpnmesh.study.manifest import grouped
from vpnmesh.study.matrix import MatrixPlan
from vpnmesh.study.profile import Profile
from vpnmesh.study.programs import is_version, program_of, telling, told_version
from workflows.run import provenance
from workflows.run.lab import emulated
from workflows.run.requirements import (
    lacking_tests,
    lacking_words,
    needed_on,
    require,
    way_of,
    way_to_program,
)
from workflows.run.site import Site

ALL = "all"
"""Every scenario that was chosen, as `--require` writes it."""
VERSION_S = 10.0


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a scenario can be attempted (`reason` is empty), and what it would run."""

    scenario: str
    programs: tuple[UsedProgram, ...] = ()
    reason: str = ""
    is_vpn: bool = True

    @property
    def said(self) -> str:
        """In words, for a line behind the scenario's name."""
        if self.reason:
            return f"unavailable: {self.reason}"
        by_folder: dict[str, list[str]] = {}
        for one in self.programs:
            by_folder.setdefault(one.folder, []).append(f"{one.name} {one.version}")
        told = [
            f"{', '.join(names)}{f' in {folder}' if folder else ''}" for folder, names in by_folder.items()
        ]
        nothing = (
            "has its programs, none of which tells a version" if self.is_vpn else "needs no program of a VPN"
        )
        return "; ".join(told) or nothing


def unavailable(site: Site, scenarios: Iterable[Scenario]) -> dict[str, str]:
    """The scenarios that these nodes cannot carry, and why; nothing is touched."""
    found: dict[str, str] = {}
    for scenario in scenarios:
        try:
            require(site, scenario)
        except UnavailableError as error:
            found[scenario.name] = str(error)
    return found


def on_nodes(site: Site, scenarios: Sequence[Scenario]) -> tuple[Availability, ...]:
    """What the nodes say of each scenario: members, control plane and relay are asked."""
    bed = site.testbed
    seats = list(dict.fromkeys((bed.client.name, bed.control_plane.name, bed.relay.name)))
    told = told_versions(identity({"nodes": provenance.node_answers(site, seats, scenarios)}))
    missing = unavailable(site, scenarios)
    return tuple(
        Availability(one.name, used_programs(one, told), missing.get(one.name, ""), is_vpn=_is_vpn(one))
        for one in scenarios
    )


def _is_vpn(scenario: Scenario) -> bool:
    solution = SOLUTIONS.get(scenario.solution)
    return solution is None or solution.is_vpn


def before_nodes(site: Site, scenarios: Sequence[Scenario]) -> tuple[Availability, ...]:
    """What is known before any node is asked: of a lab all, of real machines nothing."""
    return on_this_machine(site.testbed, scenarios, site.installer) if emulated(site.testbed) else ()


def on_this_machine(
    testbed: Testbed, scenarios: Sequence[Scenario], installer: Installer | None = None
) -> tuple[Availability, ...]:
    """What a lab's nodes would find, looked up here: they run this machine's programs."""
    lacking = _cluster_lacks(installer) if installer else ""
    found = tuple(_here(testbed, one) for one in scenarios)
    return tuple(replace(one, reason=one.reason or lacking) for one in found)


def _cluster_lacks(installer: Installer) -> str:
    """What this machine lacks for a cluster, in words; "" where it lacks nothing."""

    def there(program: ClusterProgram) -> bool:
        search = ":".join((*program.folders, SEARCH))
        names = (program.name, *program.stand_ins)
        return program.served_by([name for name in names if shutil.which(name, path=search)])

    missing = dict.fromkeys(
        (one.name, (), way_to_program(one, platform.machine)) for one in installer.programs if not there(one)
    )
    return lacking_words(missing) if missing else ""


def _here(testbed: Testbed, scenario: Scenario) -> Availability:
    solution = SOLUTIONS.get(scenario.solution)
    if solution is None:
        return Availability(scenario.name, reason=f"no module for {scenario.solution} yet")
    search = ":".join(filter(None, (scenario.program_folder, SEARCH)))
    places = {one.name: shutil.which(one.name, path=search) or "" for one in solution.needed(scenario)}
    programs = tuple(
        UsedProgram(one.name, _version(one, places[one.name]), str(Path(places[one.name]).parent))
        for one in telling(solution.binaries)
        if places[one.name]
    )
    reason = _reason(solution, Mesh(testbed, scenario), places, programs)
    return Availability(scenario.name, programs, reason, is_vpn=solution.is_vpn)


def _reason(
    solution: Solution, mesh: Mesh, places: Mapping[str, str], programs: Sequence[UsedProgram]
) -> str:
    """Why this machine cannot carry the scenario, "" where it can; as `require` says it of nodes."""
    if impossible := solution.unbuildable_reason(mesh):
        return impossible
    needed = solution.needed(mesh.scenario)
    if missing := [one for one in needed if not places[one.name] and not _link_instead(one)]:
        return lacking_words(
            (one.name, (), way_of(one, mesh.scenario.program_folder, platform.machine)) for one in missing
        )
    scenario, own = mesh.scenario, program_of(solution)
    folder = scenario.program_folder.rstrip("/")
    if folder and own and not places[own.name].startswith(f"{folder}/"):
        return f"no {own.name} in {folder}, where {scenario.name} wants it"
    told = next((one.version for one in programs if own and one.name == own.name), "")
    if scenario.version and told not in ("", NOT_TOLD) and not is_version(scenario.version, told):
        return f"{own.name if own else ''} is {told}; {scenario.name} wants {scenario.version}"
    return ""


def _link_instead(binary: Binary) -> bool:
    """Whether this machine's kernel stands in for a program that is missing."""
    with contextlib.suppress(UnavailableError):
        return bool(binary.or_link) and not try_inside(
            [("ip", "link", "add", "tried0", "type", binary.or_link)]
        )
    return False


def _version(binary: Binary, place: str) -> str:
    """What a program of this machine says of its version."""
    try:
        done = subprocess.run(
            (place, *binary.version[1:]), capture_output=True, text=True, timeout=VERSION_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return NOT_TOLD
    return NOT_TOLD if done.returncode else told_version(done.stdout or done.stderr)


def tests_on_this_machine(plan: MatrixPlan) -> dict[str, str]:
    """The tests of the plan that a lab of this machine could not make, and why."""
    wanted = {test: needed_on(plan, test) for test in plan.profile.tests}
    return lacking_tests(wanted, lambda _node, name: shutil.which(name, path=SEARCH) is not None)


def without_tests(profile: Profile, lacking: Mapping[str, str]) -> Profile:
    """The profile without tests that cannot be made; UnavailableError where none is left."""
    left = tuple(test for test in profile.tests if test not in lacking)
    if not left:
        raise UnavailableError(f"nothing can be measured here: {'; '.join(grouped(lacking))}")
    return replace(profile, tests=left)


def required(listed: str | None, chosen: Sequence[str]) -> tuple[str, ...]:
    """The scenarios that must be available, of those that were chosen; InputError for one that was not."""
    if listed == ALL:
        return tuple(chosen)
    names = list(dict.fromkeys(part.strip() for part in (listed or "").split(",") if part.strip()))
    if others := [name for name in names if name not in chosen]:
        raise InputError(
            "--require",
            f"{', '.join(others)} {'is' if len(others) == 1 else 'are'} not among the scenarios of this run",
            f"chosen are: {', '.join(chosen)}",
        )
    return tuple(names)


def refuse_missing(wanted: Iterable[str], reasons: Mapping[str, str]) -> None:
    """UnavailableError where a scenario that must be available is not."""
    if lacking := {name: reasons[name] for name in wanted if name in reasons}:
        raise UnavailableError(f"required scenarios are unavailable here: {'; '.join(grouped(lacking))}")
