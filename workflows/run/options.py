"""Command-line values as the model's types; a wrong one is a sentence that lists the right ones."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any, ParamSpec, TypeVar

import click

from vpnmesh.errors import InputError, UnknownNameError, VpnmeshError
from vpnmesh.model import Condition, End, Place, Placement, Test
from vpnmesh.study.matrix import Profile, profile_named
from vpnmesh.study.scenarios import SCENARIO_ORDER, scenario_named

P = ParamSpec("P")
R = TypeVar("R")

MAX_LIMIT_PACKETS = 10_000_000
"""The longest queue that both engines take."""


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

    def build(self) -> Profile:
        """The profile with the changes; InputError or UnknownNameError for what is wrong."""
        profile = profile_named(self.profile)
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
        changes |= self._lists() | self._budget(profile)
        if self.placement is not None:
            changes["placement"] = parse_placement(self.placement, profile.placement)
        return replace(profile, **changes)

    def _lists(self) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if self.scenarios is not None:
            chosen = {scenario_named(name).name for name in split(self.scenarios)}
            changes["scenarios"] = tuple(name for name in SCENARIO_ORDER if name in chosen)
        if self.conditions is not None:
            changes["conditions_asked"] = True
            changes["conditions"] = tuple(
                dict.fromkeys(Condition.parse(name) for name in split(self.conditions))
            )
        if self.tests is not None:
            changes["tests"] = tuple(dict.fromkeys(_test(name) for name in split(self.tests)))
        return changes

    def _budget(self, profile: Profile) -> dict[str, Any]:
        """The minutes asked for; else a profile's own, scaled to the scenarios chosen.

        A profile's own budget is that of its own matrix: it goes as soon as something is asked for that costs time.
        """
        if self.budget is not None:
            return {"budget_min": self.budget}
        costly = (self.conditions, self.tests, self.repetitions, self.duration, self.blocks)
        if any(value is not None for value in costly):
            return {"budget_min": None}
        if profile.budget_min is None or self.scenarios is None:
            return {}
        return {"budget_min": profile.budget_min * len(split(self.scenarios)) / len(profile.scenarios)}


def split(text: str) -> list[str]:
    """A comma-separated list; empty parts are dropped."""
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_placement(text: str, default: Placement) -> Placement:
    """Read `PLACE[:END][:LIMIT]`, e.g. `vxlan`, `underlay:both`, `underlay:client:1000`, `pod:server:auto`."""
    place, end, limit, *more = [*text.split(":"), "", ""]
    try:
        wanted = Placement(Place(place), End(end) if end else default.end, _limit(limit, default.limit))
    except ValueError:
        wanted = None
    # the two that were added above are all that may be left over
    if wanted is None or any(more):
        raise InputError(
            "--placement",
            f"'{text}' is not PLACE[:END][:LIMIT]",
            f"places: {', '.join(Place)}; ends: {', '.join(End)}; "
            f"limit: 1 to {MAX_LIMIT_PACKETS} packets, or auto",
        )
    return wanted


def _limit(text: str, default: int | None) -> int | None:
    """Packets, None for auto; ValueError for what is neither."""
    if text in ("", "auto"):
        return default if not text else None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_LIMIT_PACKETS):
        raise ValueError(text)
    return int(text)


def _test(name: str) -> Test:
    try:
        return Test(name)
    except ValueError:
        raise UnknownNameError("--tests", "test", name, list(Test)) from None


class SentenceError(click.ClickException):
    """An error that click shows as one sentence on stderr, before it exits with 1."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it, as every message of vpnmesh begins."""
        click.echo(f"error: {self.format_message()}", file=file, err=True)


class BadInputError(SentenceError):
    """One that the user can mend: exit code 2."""

    exit_code = 2


def bad_input_exits_2(command: Callable[P, R]) -> Callable[P, R]:
    """Show an InputError as one sentence, with exit code 2; any other VpnmeshError with exit code 1."""

    @functools.wraps(command)
    def run(*arguments: P.args, **parameters: P.kwargs) -> R:
        try:
            return command(*arguments, **parameters)
        except InputError as error:
            raise BadInputError(str(error)) from None
        except VpnmeshError as error:
            raise SentenceError(str(error)) from None

    return run
