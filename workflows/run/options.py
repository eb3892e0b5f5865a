"""Command-line values as the model's types; a wrong one is a sentence that lists the right ones."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.errors import InputError, VpnmeshError
from vpnmesh.model import Condition
from vpnmesh.study.matrix import Profile
from vpnmesh.study.profiles import parse_placement, parse_test, profile_named, profile_of_file
from vpnmesh.study.scenarios import BUILT_IN, Catalogue

scenario_file = click.option(
    "--scenario-file",
    "scenario_files",
    multiple=True,
    metavar="FILE",
    help="YAML with scenarios of your own (docs/scenarios.md), beside those that ship; may be given several times."
    " Without --scenarios these are what is run, each variant together with the scenario that it varies, unless the"
    " profile names some of them",
)
"""The option of every command that takes scenarios."""


@dataclass(frozen=True, slots=True)
class KnownScenarios:
    """What `--scenarios` may name: those that ship, then those of the user's files; `added` names the latter."""

    catalogue: Catalogue
    added: tuple[str, ...] = ()

    @classmethod
    def of_files(cls, files: Iterable[str]) -> "KnownScenarios":
        """Read the files in their order; InputError names file, scenario and key."""
        found = BUILT_IN
        for file in files:
            found = found.with_file(_content(file), file)
        return cls(found, found.names[len(BUILT_IN.names) :])

    def chosen(self, listed: str | None, profile: Profile) -> tuple[str, ...] | None:
        """The scenarios to run, in the order of every table; None leaves them to the profile.

        A profile that names scenarios of the files has chosen among them.
        """
        if listed is not None:
            return self.catalogue.in_order(self.catalogue.named(name).name for name in split(listed))
        if not self.added or set(self.added) & set(profile.scenarios):
            return None
        return self.catalogue.with_bases(self.added)


WHAT_SHIPS = KnownScenarios(BUILT_IN)


@dataclass(frozen=True, slots=True)
class MatrixOptions:
    """What the command line changes of a profile; None leaves the profile's own."""

    profile: str = "quick"
    scenarios: str | None = None
    conditions: str | None = None
    tests: str | None = None
    repetitions: int | None = None
    duration: int | None = None
    blocks: int | None = None
    budget: float | None = None
    placement: str | None = None
    scenario_files: tuple[str, ...] = ()

    def known(self) -> KnownScenarios:
        """What ships and what the files hold; InputError names file, scenario and key."""
        return KnownScenarios.of_files(self.scenario_files)

    def build(self, known: KnownScenarios = WHAT_SHIPS) -> Profile:
        """The profile with the changes; InputError or UnknownNameError for what is wrong."""
        profile = _profile(self.profile)
        scenarios = known.chosen(self.scenarios, profile)
        changes: dict[str, Any] = {
            name: value
            for name, value in (
                ("repetitions_clean", self.repetitions),
                ("repetitions_impaired", self.repetitions),
                ("duration_s", self.duration),
                ("blocks", self.blocks),
            )
            if value is not None
        }
        if scenarios is not None:
            changes["scenarios"] = scenarios
        changes |= self._lists() | self._budget(profile, scenarios)
        if self.placement is not None:
            changes["placement"] = parse_placement(self.placement, profile.placement)
        return replace(profile, **changes)

    def _lists(self) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if self.conditions is not None:
            changes["conditions_asked"] = True
            changes["conditions"] = tuple(
                dict.fromkeys(Condition.parse(name) for name in split(self.conditions))
            )
        if self.tests is not None:
            changes["tests"] = tuple(dict.fromkeys(parse_test(name) for name in split(self.tests)))
        return changes

    def _budget(self, profile: Profile, scenarios: tuple[str, ...] | None) -> dict[str, Any]:
        """The minutes asked for; else a profile's own, scaled to the scenarios chosen.

        A profile's own budget is that of its own matrix: it goes as soon as something is asked for that costs time.
        """
        if self.budget is not None:
            return {"budget_min": self.budget}
        costly = (self.conditions, self.tests, self.repetitions, self.duration, self.blocks)
        if any(value is not None for value in costly):
            return {"budget_min": None}
        if profile.budget_min is None or scenarios is None:
            return {}
        return {"budget_min": profile.budget_min * len(scenarios) / len(profile.scenarios)}


def split(text: str) -> list[str]:
    """A comma-separated list; empty parts are dropped."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _profile(name: str) -> Profile:
    """One that ships, by name, or that of a file: a name with a slash in it, or that ends as YAML does."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        return profile_of_file(_content(name), name)
    return profile_named(name)


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise unreadable(Path(file), error) from error
    except ValueError as error:
        # a NUL byte in the name
        raise InputError(repr(file), f"is no name of a file: {error}") from error


def bad_input_exits_2(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn InputError into one sentence on stderr and exit code 2; other VpnmeshErrors into exit code 1."""

    def run(*arguments: Any, **parameters: Any) -> Any:
        try:
            return command(*arguments, **parameters)
        except InputError as error:
            click.echo(f"error: {error}", err=True)
            raise SystemExit(2) from None
        except VpnmeshError as error:
            click.echo(f"error: {error}", err=True)
            raise SystemExit(1) from None

    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    return run
