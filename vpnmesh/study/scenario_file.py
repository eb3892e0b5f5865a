"""One scenario as it is written in a file: its keys, what a variant inherits, and what is wrong with it.

The shape (keys, types, MTUs) is checked whenever a scenario is read, that of an old run too. Whether solution, policy
and options exist in this vpnmesh is checked only where somebody wants to measure it.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from vpnmesh.documents.checked import MOST_SHOWN, checked, shown
from vpnmesh.documents.names import environment_problem, folder_problem, line_problem
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.firewall.policy import policy_named
from vpnmesh.host.pods import VXLAN_BYTES
from vpnmesh.masks import masked
from vpnmesh.model import Path, Scenario
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Solution
from vpnmesh.study.programs import program_of

PAGE = "docs/scenarios.md"
MTU_MIN, MTU_MAX = 576, 9000
"""Bytes: what every IPv4 host must take (RFC 791, section 3.1), and jumbo frames."""
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~_-]{0,63}")

Mtu = Annotated[int, Field(strict=True, ge=MTU_MIN, le=MTU_MAX)]


class _Keys(BaseModel):
    """The keys of a scenario; what a variant leaves out comes from the scenario that it names."""

    model_config = ConfigDict(extra="forbid")

    variant_of: StrictStr = ""
    paper: StrictBool = False
    solution: StrictStr
    path: Path
    pod_mtu: Mtu
    tunnel_mtu: Mtu | None = None
    policy: StrictStr
    data_path: StrictStr = ""
    options: dict[str, StrictStr] = Field(default_factory=dict)
    environment: dict[str, StrictStr] = Field(default_factory=dict)
    version: StrictStr = ""
    program_folder: StrictStr = ""


KEYS = tuple(_Keys.model_fields)
MERGED = ("options", "environment")
"""Mappings of which a variant writes only the entries that differ."""


def scenario_from(name: str, keys: Mapping[object, object], where: str) -> Scenario:
    """The scenario that these keys, all of them written out, describe; InputError for a wrong shape."""
    written = checked(_Keys, keys, where, PAGE)
    _check_room(written, where)
    _check_texts(written, where)
    return Scenario(name=name, **{key: getattr(written, key) for key in KEYS})


def inherited(base: Scenario, keys: Mapping[object, object]) -> dict[object, object]:
    """The keys of a variant with those of its base below them; a variant was measured by no paper."""
    below: dict[object, object] = {key: value for key, value in written_out(base).items() if key != "paper"}
    for key, value in keys.items():
        former = below.get(key)
        merged = key in MERGED and isinstance(former, dict) and isinstance(value, Mapping)
        below[key] = {**former, **value} if merged else value  # type: ignore[dict-item]
    # a report sets a variant of a variant beside the first of them
    below["variant_of"] = base.variant_of or base.name
    return below


def written_out(scenario: Scenario) -> dict[str, object]:
    """All keys as plain values."""
    found = asdict(scenario)
    del found["name"]
    return {key: str(value) if isinstance(value, Path) else value for key, value in found.items()}


def check_known(scenario: Scenario, where: str) -> None:
    """InputError unless this vpnmesh knows the solution, the policy and all that the scenario wants of them."""
    solution = _known_solution(scenario, where)
    try:
        policy_named(scenario.policy)
    except UnknownNameError as error:
        raise UnknownNameError(f"{where}: policy", "policy", scenario.policy, error.known) from None
    _check_tunnel(scenario, solution, where)
    _check_options(scenario, solution, where)
    _check_program(scenario, solution, where)
    _check_secrets(scenario, where)


def _known_solution(scenario: Scenario, where: str) -> Solution:
    try:
        return solution_named(scenario.solution)
    except UnknownNameError as error:
        raise UnknownNameError(f"{where}: solution", "solution", scenario.solution, error.known) from None


def _check_tunnel(scenario: Scenario, solution: Solution, where: str) -> None:
    if solution.interfaces and scenario.tunnel_mtu is None:
        most = f"{scenario.pod_mtu + VXLAN_BYTES} or more for pod_mtu {scenario.pod_mtu}"
        raise InputError(f"{where}: tunnel_mtu", f"is missing, and {solution.name} has a tunnel", most)
    if scenario.tunnel_mtu is not None and not solution.interfaces:
        raise InputError(f"{where}: tunnel_mtu", f"{solution.name} has no tunnel", "leave it out")


def _check_options(scenario: Scenario, solution: Solution, where: str) -> None:
    for key, value in scenario.options.items():
        if not solution.options:
            raise InputError(f"{where}: options.{key}", f"{solution.name} has no options", "leave it out")
        if key not in solution.options:
            raise UnknownNameError(
                f"{where}: options", f"option of {solution.name}", key, list(solution.options)
            )
        if value not in (known := solution.options[key]):
            raise UnknownNameError(f"{where}: options.{key}", "value", value, list(known))


def _check_program(scenario: Scenario, solution: Solution, where: str) -> None:
    """What is wanted of a program needs one that runs on the members; a version one that tells its own."""
    program = program_of(solution)
    for key in ("environment", "version", "program_folder"):
        if getattr(scenario, key) and program is None:
            raise InputError(f"{where}: {key}", f"{solution.name} runs no program of its own", "leave it out")
    if scenario.version and program is not None and not program.version:
        raise InputError(f"{where}: version", f"{program.name} does not tell its version", "leave it out")


def _check_secrets(scenario: Scenario, where: str) -> None:
    """What a run keeps is masked where it looks like a secret: it would go on with the mask in its place."""
    for name, value in scenario.environment.items():
        if masked(value) != value:
            problem = "looks like a secret, which no run keeps, so none could be resumed"
            raise InputError(f"{where}: environment.{name}", problem, "leave it out")


def _check_room(written: _Keys, where: str) -> None:
    if written.tunnel_mtu is None or written.pod_mtu <= written.tunnel_mtu - VXLAN_BYTES:
        return
    room = f"tunnel_mtu {written.tunnel_mtu} with {VXLAN_BYTES} of VXLAN"
    raise InputError(
        f"{where}: pod_mtu",
        f"{written.pod_mtu} does not fit into {room}",
        f"at most {written.tunnel_mtu - VXLAN_BYTES}",
    )


def _check_texts(written: _Keys, where: str) -> None:
    if problem := written.data_path and line_problem(written.data_path):
        raise InputError(f"{where}: data_path", problem)
    for name, value in written.environment.items():
        if problem := environment_problem(name):
            raise InputError(f"{where}: environment.{name[:MOST_SHOWN]}", problem)
        if name == "PATH":
            raise InputError(f"{where}: environment.PATH", "is not to be changed", "write program_folder")
        if problem := value and line_problem(value):
            raise InputError(f"{where}: environment.{name}", problem)
    if written.version and not _VERSION.fullmatch(written.version):
        problem = f"{shown(written.version)} is no version"
        raise InputError(f"{where}: version", problem, "write it as the program prints it, such as '1.98.10'")
    if problem := written.program_folder and folder_problem(written.program_folder):
        raise InputError(f"{where}: program_folder", problem)
