"""Command-line values as the model's types; a wrong one is a sentence that lists the right ones."""

import errno
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

import click

from vpnmesh.cluster import PODS
from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.errors import MOST_NAMED, InputError, VpnmeshError, printable
from vpnmesh.host.lease import SECONDS
from vpnmesh.measurements import MEASUREMENTS
from vpnmesh.model import Condition
from vpnmesh.study.pairs import FIXED, PairChoice
from vpnmesh.study.profile import Profile
from vpnmesh.study.profiles import parse_placement, parse_test, profile_named, profile_of_file
from vpnmesh.study.scenarios import BUILT_IN, Catalogue

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
P = ParamSpec("P")
R = TypeVar("R")

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
    """What the command line changes of a profile; None leaves the profile's own. `lease` is of this session alone."""

    profile: str = "adaptive"
    scenarios: str | None = None
    conditions: str | None = None
    tests: str | None = None
    repetitions: int | None = None
    duration: int | None = None
    blocks: int | None = None
    budget: float | None = None
    margin: float | None = None
    precision: float | None = None
    placement: str | None = None
    scenario_files: tuple[str, ...] = ()
    pairs: str | None = None
    cluster: str | None = None
    requests: int | None = None
    lease: int = SECONDS

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
                ("margin_pct", self.margin),
                ("precision_pct", self.precision),
                ("cluster", self.cluster),
                ("api_requests", self.requests),
                ("hey_requests", self.requests),
            )
            if value is not None
        }
        if self.repetitions is not None:
            # whoever says how often leaves nothing to be decided
            changes["adaptive"] = False
            changes["own"] = {test: replace(one, repetitions=None) for test, one in profile.own.items()}
        if scenarios is not None:
            changes["scenarios"] = scenarios
        changes |= self._lists() | self._budget(profile, scenarios)
        if self.placement is not None:
            changes["placement"] = parse_placement(self.placement, profile.placement)
        if self.pairs is not None:
            changes["pairs"] = PairChoice.parse(self.pairs)
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
        if profile.adaptive and self.repetitions is None:
            # its budget is what it is asked to make the most of, whatever that is
            return {} if self.precision is None else {"budget_min": None}
        more_pairs = None if self.pairs == str(FIXED) else self.pairs
        costly = (
            *(self.conditions, self.tests, self.repetitions, self.duration, self.blocks),
            *(more_pairs, None if self.cluster == PODS else self.cluster),
        )
        if any(value is not None for value in costly):
            return {"budget_min": None}
        if profile.budget_min is None or scenarios is None:
            return {}
        return {"budget_min": profile.budget_min * len(scenarios) / len(profile.scenarios)}


class TestsOption(click.Option):
    """`--tests`, whose help lists the tests that there are when somebody asks for it."""

    # the name is the option's; keeps pytest from collecting it as a test class
    __test__ = False

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As every option's, with the names; where a plug-in is broken, what is wrong with it."""
        try:
            self.help = f"comma-separated of {', '.join(MEASUREMENTS)}"
        except InputError as error:
            self.help = str(error)
        return super().get_help_record(ctx)


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


class SentenceError(click.ClickException):
    """An error that click shows as one sentence on stderr, before it exits with 1."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it, as every message of vpnmesh begins."""
        click.echo(f"error: {self.format_message()}", file=file, err=True)


class BadInputError(SentenceError):
    """One that the user can mend: exit code 2."""

    exit_code = 2


def _of_the_system(error: OSError) -> Exception:
    """A sentence where the system says which file it is about, or that a disk is full; else the error itself."""
    if error.errno == errno.ENAMETOOLONG:
        # any option with a path may have one that the system takes for none
        return BadInputError(f"{str(error.filename)[:MOST_NAMED]}...: {error.strerror}; shorten it")
    if error.filename is not None:
        return SentenceError(printable(f"{error.filename}: {error.strerror}"))
    return SentenceError(str(error.strerror)) if error.errno in _FULL else error


def bad_input_exits_2(command: Callable[P, R]) -> Callable[P, R]:
    """Show an InputError as one sentence, with exit code 2; any other VpnmeshError with exit code 1.

    So is a file that the system does not let anybody read or write, whatever reads or writes it.
    """

    @functools.wraps(command)
    def run(*arguments: P.args, **parameters: P.kwargs) -> R:
        try:
            return command(*arguments, **parameters)
        except InputError as error:
            raise BadInputError(str(error)) from None
        except VpnmeshError as error:
            raise SentenceError(str(error)) from None
        except OSError as error:
            raise _of_the_system(error) from None

    return run
