"""The scenarios of a study, read from YAML: the paper's eight and what goes beyond it, and those of a user's own file.

A scenario is solution, path, MTUs and firewall policy, with options, environment and version of its programs. A
variant names another scenario (`variant_of`) and says only what differs (paper, section 3.3; docs/scenarios.md).
The order in the files is the order of tables, pairs and figures everywhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

from vpnmesh.documents.checked import shown
from vpnmesh.documents.names import slug_problem
from vpnmesh.documents.yaml_text import parse_yaml
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.model import Path, Scenario
from vpnmesh.study.scenario_file import KEYS, PAGE, check_known, inherited, scenario_from, written_out


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
        """Whose scenario it is; of an undeclared one, the part of its name before `-direct` or `-relay`."""
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
        """These scenarios and those of a user's file; InputError names file, scenario and key, and the way out.

        A name that is there already would make old and new results look alike: it is refused.
        """
        found = self.with_shape(data, place)
        for one in found.scenarios[len(self.scenarios) :]:
            where = f"{place}: {one.name}"
            if one.paper:
                raise InputError(f"{where}: paper", "the paper measured only its own eight", "leave it out")
            check_known(one, where)
        return found

    def with_shape(self, data: bytes, place: str) -> "Catalogue":
        """As `with_file`, but only keys and values are checked, not whether this vpnmesh knows what they name."""
        written = parse_yaml(data, place)
        if not isinstance(written, Mapping) or not written:
            raise InputError(place, "holds no scenarios", f"write NAME: and its keys below it, as in {PAGE}")
        found = self
        for name, keys in written.items():
            found = found._and(name, keys, place)
        return found

    def with_bases(self, names: Iterable[str]) -> tuple[str, ...]:
        """These scenarios and, before each variant, the one it is set beside; in the order of the catalogue."""
        chosen = [self.named(name) for name in names]
        return self.in_order(
            [*(one.name for one in chosen), *(one.variant_of for one in chosen if one.variant_of)]
        )

    def as_written(self) -> dict[str, dict[str, object]]:
        """All scenarios as plain values, every key written out: what a manifest keeps."""
        return {one.name: written_out(one) for one in self.scenarios}

    @classmethod
    def read(cls, written: Mapping[str, object], place: str) -> "Catalogue":
        """What `as_written` gave; InputError where it is none of that.

        What this vpnmesh no longer knows (a solution, an option) is read all the same: it was measured.
        """
        found = cls(())
        for name, keys in written.items():
            found = found._and(name, keys, place, whole=True)
        return found

    @classmethod
    def of_run(cls, manifest: Mapping[str, object], place: str) -> "Catalogue":
        """The scenarios that a run knew, from its manifest's entry `scenarios`; without one, what ships here.

        A manifest sorts its keys: those that ship come first again, then the others in the order of the run.
        """
        written = manifest.get("scenarios")
        if written is None:
            return BUILT_IN
        if not isinstance(written, Mapping):
            raise InputError(f"{place}: scenarios", "is no mapping", "restore it as the run wrote it")
        profile = manifest.get("profile")
        listed = profile.get("scenarios") if isinstance(profile, Mapping) else None
        run = [str(name) for name in listed] if isinstance(listed, list) else []
        names = [name for name in (*BUILT_IN.names, *run) if name in written]
        return cls.read(
            {name: written[name] for name in dict.fromkeys((*names, *written))}, f"{place}: scenarios"
        )

    def _and(self, name: object, keys: object, place: str, *, whole: bool = False) -> "Catalogue":
        """The catalogue with one more scenario; `whole` says that all its keys are written out."""
        if not isinstance(name, str):
            raise InputError(f"{place}: {shown(name)}", "the name is no text", "write it in quotes")
        where = f"{place}: {name}"
        if problem := slug_problem(name):
            raise InputError(f"{place}: {shown(name)}", problem)
        if name in self._by_name:
            raise InputError(where, "is there already", "give it a name of its own")
        if not isinstance(keys, Mapping):
            raise InputError(where, "holds no keys", f"known are: {', '.join(KEYS)}")
        written = keys if whole else self._completed(keys, where)
        return Catalogue((*self.scenarios, scenario_from(name, written, where)))

    def _completed(self, keys: Mapping[object, object], where: str) -> Mapping[object, object]:
        """The keys of a variant with those of the scenario that it varies, which comes before it, below them."""
        if "variant_of" not in keys:
            return keys
        base = keys["variant_of"]
        if not isinstance(base, str):
            raise InputError(f"{where}: variant_of", f"{shown(base)} is no text", "write a scenario's name")
        return inherited(self.named(base, f"{where}: variant_of"), keys)


def _built_in() -> Catalogue:
    data = resources.files("vpnmesh.study").joinpath("scenarios.yaml").read_bytes()
    # whether solutions and policies are known is a matter of tests: an import looks for no plug-ins
    return Catalogue(()).with_shape(data, "scenarios.yaml")


BUILT_IN = _built_in()
"""What ships with the package."""

SCENARIOS = BUILT_IN.scenarios
SCENARIO_ORDER = BUILT_IN.names
PAPER_SCENARIOS = BUILT_IN.paper


def scenario_named(name: str) -> Scenario:
    """The built-in scenario of that name; UnknownNameError lists the known ones."""
    return BUILT_IN.named(name)
