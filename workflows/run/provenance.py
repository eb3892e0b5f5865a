"""What a run is read with: request, versions, machine, nodes; written to manifest.json before the first cell."""

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import tasks
from vpnmesh.cluster import PODS
from vpnmesh.doctor.judge import UNREAD
from vpnmesh.doctor.likeness import differences
from vpnmesh.impairment.engine import Engine
from vpnmesh.lab.lifecycle import Lab
from vpnmesh.lab.replaying import replayed_in
from vpnmesh.model import Scenario, Testbed
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.manifest import JsonObject, Manifest, NodeFootprints, Surroundings
from vpnmesh.study.profile import Profile
from vpnmesh.study.programs import version_questions
from vpnmesh.study.scenarios import BUILT_IN, Catalogue
from workflows.run.hosts import run_on
from workflows.run.requested import PROFILE, TESTBED
from workflows.run.site import Site

_PACKAGES = ("nornir", "nornir-netmiko", "netmiko", "paramiko", "polars", "scipy")


def request(
    profile: Profile, seed: int, inventory: str, testbed: Testbed, catalogue: Catalogue = BUILT_IN
) -> Manifest:
    """The manifest of a run that is about to start; enough to go on with it later, also without its scenario files."""
    return Manifest(
        vpnmesh=version("vpnmesh"),
        git_commit=git_commit(),
        started_at=datetime.now(UTC).isoformat(),
        argv=sys.argv,
        python=platform.python_version(),
        packages={name: version(name) for name in _PACKAGES},
        profile=PROFILE.dump_python(profile, mode="json"),
        scenarios=catalogue.as_written(),
        seed=seed,
        inventory=inventory,
        testbed=dump_testbed(testbed),
        allow_virtual_forwarding=testbed.allow_virtual_forwarding,
    )


def dump_testbed(testbed: Testbed) -> JsonObject:
    """The testbed as the manifest has it."""
    dumped: JsonObject = TESTBED.dump_python(testbed, mode="json")
    return dumped


def surroundings(
    site: Site, lab: Lab | None, engine: Engine, scenarios: Sequence[Scenario] = ()
) -> Surroundings:
    """The controller and every node, as they are before the first cell, and in what the nodes are not alike.

    The programs in the scenarios' own folders are asked for their versions, too.
    """
    nodes = node_answers(site, site.all_nodes, scenarios)
    return Surroundings(
        controller={"kernel": platform.platform(), "machine": platform.machine()},
        engine=engine.name,
        cluster=site.installer.name if site.installer else PODS,
        lab=lab_facts(lab),
        nodes=nodes,
        node_differences=differences(nodes),
    )


def node_answers(
    site: Site, names: Sequence[str], scenarios: Sequence[Scenario] = ()
) -> dict[str, dict[str, str]]:
    """What these nodes are and run, by node and by question."""
    programs = site.installer.programs if site.installer else ()
    versions = (
        *version_questions(scenarios, SOLUTIONS),
        *dict.fromkeys(one.version for one in programs if one.version),
    )
    results = run_on(site.nr, names, tasks.read_provenance, testbed=site.testbed, versions=versions)
    return {name: result.result for name, result in results.items()}


def footprint(site: Site) -> NodeFootprints:
    """What every node has that a run could leave behind."""
    return {
        name: result.result for name, result in run_on(site.nr, site.all_nodes, tasks.read_footprint).items()
    }


def compare_footprints(
    before: Mapping[str, Mapping[str, list[str]]], after: Mapping[str, Mapping[str, list[str]]]
) -> list[str]:
    """What is on the nodes after the run and was not before, or the other way round, as sentences."""
    said = []
    for node, kinds in before.items():
        for kind, lines in kinds.items():
            now = after[node][kind]
            unread = next((line for line in (*now, *lines) if line.startswith(UNREAD)), "")
            if unread:
                said.append(f"{node}: {kind}: {unread}: nobody can say whether something was left behind")
                continue
            said += [f"{node}: {kind}: left behind: {line}" for line in now if line not in lines]
            said += [f"{node}: {kind}: gone: {line}" for line in lines if line not in now]
    return said


def lab_facts(lab: Lab | None) -> JsonObject | None:
    """How the lab came up, None on real machines."""
    if lab is None:
        return None
    replayed = replayed_in(lab.directory)
    return {
        "kernel": lab.record.kernel,
        "port_rate_mbit_s": lab.record.port_rate_mbit_s,
        **({"replayed_paths": [path.in_words for path in replayed]} if replayed else {}),
        "seconds": {step.step: step.seconds for step in lab.timings},
        "note": "all nodes share this machine's cores and kernel",
    }


def git_commit() -> str:
    """The commit of the code that runs, "unknown" outside a checkout; `-dirty` when files differ from it."""
    argv = ("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12")
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
