"""Which version of every program a run used, as its nodes told it, beside what the paper ran."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import polars as pl

from vpnmesh.host.binaries import parse_paper
from vpnmesh.model import Scenario
from vpnmesh.report.identity import mapping
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Binary
from vpnmesh.study.programs import program_of, telling, told_version, version_command
from vpnmesh.study.scenarios import Catalogue

VERSIONS: dict[str, pl.DataType] = {
    "program": pl.String(),
    "version": pl.String(),
    "paper": pl.String(),
    "folder": pl.String(),
    "scenarios": pl.String(),
}
"""A row per program, version and folder ("" = PATH); `paper` is what the paper ran, null where it does not say."""

NOT_TOLD = "version not told"
_ABSENT = re.compile(r"No such file|not found")
Told = Mapping[str, str]
"""What the nodes answered to the question for a version, by its command line."""


@dataclass(frozen=True, slots=True)
class UsedProgram:
    """A program of a scenario, the version that its nodes told, and the scenario's own folder if it lies there."""

    name: str
    version: str
    folder: str = ""


def told_versions(provenance: Mapping[str, object]) -> Told:
    """The nodes' answers out of what is known of a study; empty where nobody recorded any.

    A program of a scenario's own folder that has no option for its version is there all the same: what runs is not the
    one on PATH.
    """
    mute = {
        str(command): NOT_TOLD
        for node in mapping(provenance.get("nodes")).values()
        for command, text in mapping(node).items()
        if str(command).startswith("/") and not _ABSENT.search(str(text))
    }
    told = {str(command): str(text) for command, text in mapping(provenance.get("versions")).items()}
    return {**mute, **told}


def used_programs(scenario: Scenario, told: Told) -> tuple[UsedProgram, ...]:
    """The programs of a scenario that told a version, the one that carries its data plane first."""
    solution = SOLUTIONS.get(scenario.solution)
    if solution is None:
        return ()
    own = program_of(solution)
    first = (own,) if own else ()
    found = (_used(one, scenario, told) for one in telling((*first, *solution.binaries)))
    return tuple(one for one in found if one)


def _used(binary: Binary, scenario: Scenario, told: Told) -> UsedProgram | None:
    """From the scenario's folder, or what PATH has where the folder lacks it; None where no node told."""
    own = version_command(binary, scenario)
    for command, folder in ((own, scenario.program_folder), (binary.version, "")):
        if text := told.get(shlex.join(command)):
            # nodes that differ are told one after the other
            versions = dict.fromkeys(told_version(part) for part in text.split("; "))
            return UsedProgram(binary.name, " and ".join(versions), folder.rstrip("/"))
    return None


def versions(told: Told, catalogue: Catalogue, scenarios: tuple[str, ...]) -> pl.DataFrame:
    """A row per program that these scenarios used."""
    used: dict[UsedProgram, list[str]] = {}
    for scenario in filter(None, map(catalogue.get, scenarios)):
        for program in used_programs(scenario, told):
            used.setdefault(program, []).append(scenario.name)
    papers = paper_programs()
    rows = [
        (one.name, one.version, papers.get(one.name), one.folder, ", ".join(names))
        for one, names in used.items()
    ]
    return pl.DataFrame(rows, schema=VERSIONS, orient="row")


@cache
def paper_programs() -> Mapping[str, str]:
    """What the paper ran, by program."""
    text = resources.files("vpnmesh.host").joinpath("binaries.toml").read_text(encoding="utf-8")
    return {program: one.version for one in parse_paper(text).values() for program in one.programs}


def beside_paper(table: pl.DataFrame) -> str:
    """The programs whose version the paper states, here and there: `netbird 0.77.1 (the paper: 0.20.0)`.

    Of programs that come together in one version (a client and its server) the first speaks for all.
    """
    known = table.drop_nulls("paper").unique(
        ["paper", "version", "folder"], keep="first", maintain_order=True
    )
    here = known.group_by("program", "paper", maintain_order=True).agg("version")
    return ", ".join(f"{name} {' and '.join(told)} (the paper: {paper})" for name, paper, told in here.rows())


def order_of(version: str) -> tuple[int, ...]:
    """A version as numbers, so that 1.10 comes after 1.9; empty where it begins with none."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()
