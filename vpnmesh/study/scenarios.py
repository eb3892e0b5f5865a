"""The scenarios of a study, read from YAML: the paper's eight and what goes beyond it, and those of a user's own file.

A scenario is solution, path, MTUs and firewall policy, with options, environment and version of its programs. A
variant names another scenario (`variant_of`) and says only what differs (paper, section 3.3; docs/scenarios.md).
The order in the files is the order of tables, pairs and figures everywhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import resources
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError

from vpnmesh.documents.names import slug_problem
from vpnmesh.documents.yaml_text import parse_yaml
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.firewall.policy import policy_named
from vpnmesh.model import Path, Scenario
from vpnmesh.solutions import solution_named

VXLAN_BYTES = 50
"""What VXLAN takes of every packet of a pod (RFC 7348, section 5: outer Ethernet, IPv4, UDP and VXLAN headers)."""
MTU_MIN, MTU_MAX = 576, 9000
"""Bytes: what every IPv4 host must take (RFC 791, section 3.1), and jumbo frames."""


class _Written(BaseModel):
    """A scenario as it is written; what a variant leaves out comes from the scenario that it names."""

    model_config = ConfigDict(extra="forbid")

    variant_of: StrictStr = ""
    paper: StrictBool = False
    solution: StrictStr
    path: Path
    pod_mtu: Annotated[int, Field(strict=True, ge=MTU_MIN, le=MTU_MAX)]
    tunnel_mtu: Annotated[int, Field(strict=True, ge=MTU_MIN, le=MTU_MAX)] | None = None
    policy: StrictStr
    data_path: StrictStr = ""
    options: dict[str, StrictStr] = Field(default_factory=dict)
    environment: dict[str, StrictStr] = Field(default_factory=dict)
    version: StrictStr = ""
    program_folder: StrictStr = ""


_MERGED = ("options", "environment")
KEYS = tuple(_Written.model_fields)


@dataclass(frozen=True)
class Catalogue:
    """Scenarios in the order of every table; what a run or a report knows of names comes from here."""

    scenarios: tuple[Scenario, ...]

    @cached_property
    def _by_name(self) -> dict[str, Scenario]:
        return {scenario.name: scenario for scenario in self.scenarios}

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self._by_name)

    @property
    def paper(self) -> tuple[str, ...]:
        """The names of the scenarios that the paper measured."""
        return tuple(scenario.name for scenario in self.scenarios if scenario.paper)

    @property
    def baselines(self) -> tuple[str, ...]:
        """The paper's scenarios without a tunnel, which every ratio of Tables A1 and A2 refers to."""
        return tuple(one.name for one in self.scenarios if one.paper and one.tunnel_mtu is None)

    def named(self, name: str, place: str = "--scenarios") -> Scenario:
        """The scenario of that name; UnknownNameError lists the known ones."""
        if name not in self._by_name:
            raise UnknownNameError(place, "scenario", name, list(self.names))
        return self._by_name[name]

    def get(self, name: str) -> Scenario | None:
        """The scenario of that name, None where nobody declared it (results of others may be named as they like)."""
        return self._by_name.get(name)

    def solution_of(self, name: str) -> str:
        """Whose scenario it is; of an undeclared one, what stands before `-direct` or `-relay` in its name."""
        if scenario := self.get(name):
            return scenario.solution
        return next((name.removesuffix(f"-{path}") for path in Path if name.endswith(f"-{path}")), name)

    def path_of(self, name: str) -> Path | None:
        """The scenario's path; of an undeclared one, what its name ends in, None where that is no path."""
        if scenario := self.get(name):
            return scenario.path
        return next((path for path in Path if name.endswith(f"-{path}")), None)

    def in_order(self, found: Iterable[str]) -> tuple[str, ...]:
        """The names that were found: the declared ones first, in their order, others after them by name."""
        names = set(found)
        known = [name for name in self.names if name in names]
        return (*known, *sorted(names.difference(known)))

    def variants(self) -> dict[str, tuple[str, ...]]:
        """For each scenario that has variants, their names."""
        found: dict[str, tuple[str, ...]] = {}
        for one in self.scenarios:
            if one.variant_of:
                found[one.variant_of] = (*found.get(one.variant_of, ()), one.name)
        return found

    def with_file(self, data: bytes, place: str) -> "Catalogue":
        """These scenarios and those of a file; InputError names file, scenario and key, and the way out.

        A name that is there already would make old and new results look alike: it is refused.
        """
        written = parse_yaml(data, place)
        if not isinstance(written, Mapping) or not written:
            raise InputError(
                place, "holds no scenarios", "write `NAME:` and its keys below, as docs/scenarios.md"
            )
        found = self
        for name, keys in written.items():
            found = Catalogue((*found.scenarios, found._one(str(name), keys, place)))
        return found

    def as_written(self) -> dict[str, dict[str, object]]:
        """All scenarios as plain values, every key written out: what a manifest keeps."""
        return {one.name: _plain(one) for one in self.scenarios}

    @classmethod
    def read(cls, written: Mapping[str, object], place: str) -> "Catalogue":
        """What `as_written` gave; InputError where it is none of that."""
        found = cls(())
        for name, keys in written.items():
            found = cls((*found.scenarios, found._one(str(name), keys, place, whole=True)))
        return found

    def _one(self, name: str, keys: object, place: str, *, whole: bool = False) -> Scenario:
        where = f"{place}: {name}"
        if problem := slug_problem(name):
            raise InputError(where, problem)
        if name in self._by_name:
            raise InputError(where, "is there already", "give it a name of its own")
        if not isinstance(keys, Mapping):
            raise InputError(where, "holds no keys", f"known are: {', '.join(KEYS)}")
        written = _checked(keys if whole else self._completed(keys, where), where)
        fields = {key: value for key, value in written.model_dump().items() if key in KEYS}
        return Scenario(name=name, **fields)

    def _completed(self, keys: Mapping[object, object], where: str) -> dict[str, object]:
        """The keys with those of the scenario that it is a variant of below them."""
        base = keys.get("variant_of")
        if base is None:
            return {str(key): value for key, value in keys.items()}
        known = self.get(str(base))
        if known is None:
            raise UnknownNameError(f"{where}: variant_of", "scenario", str(base), list(self.names))
        below = {**_plain(known), "paper": False}
        for key, value in keys.items():
            former = below.get(str(key))
            merged = str(key) in _MERGED and isinstance(former, dict) and isinstance(value, Mapping)
            below[str(key)] = {**former, **value} if merged else value  # type: ignore[dict-item]
        # a variant of a variant is set beside the first of them
        below["variant_of"] = known.variant_of or known.name
        return below


def _plain(scenario: Scenario) -> dict[str, object]:
    found = asdict(scenario)
    del found["name"]
    return {key: str(value) if isinstance(value, Path) else value for key, value in found.items()}


def _checked(keys: Mapping[object, object] | dict[str, object], where: str) -> _Written:
    try:
        written = _Written.model_validate(dict(keys))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UnknownNameError(where, "key", key, list(KEYS)) from None
        raise InputError(
            f"{where}: {key}", first["msg"].lower(), "docs/scenarios.md says what it takes"
        ) from None
    if written.tunnel_mtu is not None and written.pod_mtu > written.tunnel_mtu - VXLAN_BYTES:
        most = written.tunnel_mtu - VXLAN_BYTES
        problem = (
            f"{written.pod_mtu} does not fit into tunnel_mtu {written.tunnel_mtu} with {VXLAN_BYTES} of VXLAN"
        )
        raise InputError(f"{where}: pod_mtu", problem, f"at most {most}")
    _known(written, where)
    return written


def _known(written: _Written, where: str) -> None:
    for key, find in (("solution", solution_named), ("policy", policy_named)):
        name = getattr(written, key)
        try:
            find(name)
        except UnknownNameError as error:
            raise UnknownNameError(f"{where}: {key}", key, name, error.known) from None


def _built_in() -> Catalogue:
    data = resources.files("vpnmesh.study").joinpath("scenarios.yaml").read_bytes()
    return Catalogue(()).with_file(data, "scenarios.yaml")


BUILT_IN = _built_in()
"""What ships with the package."""

SCENARIOS = BUILT_IN.scenarios
SCENARIO_ORDER = BUILT_IN.names
PAPER_SCENARIOS = BUILT_IN.paper


def scenario_named(name: str) -> Scenario:
    """The built-in scenario of that name; UnknownNameError lists the known ones."""
    return BUILT_IN.named(name)


def declared(name: str) -> Scenario | None:
    """The built-in scenario of that name, None where there is none."""
    return BUILT_IN.get(name)


def solution_of(name: str) -> str:
    """As `Catalogue.solution_of`, of the built-in ones."""
    return BUILT_IN.solution_of(name)


def path_of(name: str) -> Path | None:
    """As `Catalogue.path_of`, of the built-in ones."""
    return BUILT_IN.path_of(name)
