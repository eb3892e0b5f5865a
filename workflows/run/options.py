"""Command-line values as the model's types; a wrong one is a sentence that lists the right ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click

from vpnmesh.errors import InputError, VpnmeshError
from vpnmesh.measurements import MEASUREMENTS, measurement_named
from vpnmesh.model import Condition, End, Place, Placement
from vpnmesh.study.matrix import Profile, profile_named
from vpnmesh.study.scenarios import SCENARIO_ORDER, scenario_named

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
            changes["tests"] = tuple(
                dict.fromkeys(measurement_named(name, "--tests").name for name in split(self.tests))
            )
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
