"""Command-line values as the model's types; a wrong one is a sentence that lists the right ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click

from vpnmesh.errors import InputError, UnknownNameError, VpnmeshError
from vpnmesh.matrix import Profile, profile_named
from vpnmesh.model import Condition, End, Place, Placement, Test
from vpnmesh.scenarios import SCENARIO_ORDER, scenario_named


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
            changes["conditions"] = tuple(
                dict.fromkeys(Condition.parse(name) for name in split(self.conditions))
            )
        if self.tests is not None:
            changes["tests"] = tuple(dict.fromkeys(_test(name) for name in split(self.tests)))
        return changes

    def _budget(self, profile: Profile) -> dict[str, Any]:
        """The minutes asked for; else a profile's own budget, which is per scenario, scaled to those chosen."""
        if self.budget is not None:
            return {"budget_min": self.budget}
        if profile.budget_min is None or self.scenarios is None:
            return {}
        return {"budget_min": profile.budget_min * len(split(self.scenarios)) / len(profile.scenarios)}


def split(text: str) -> list[str]:
    """A comma-separated list; empty parts are dropped."""
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_placement(text: str, default: Placement) -> Placement:
    """Read `PLACE[:END][:LIMIT]`, e.g. `vxlan`, `underlay:both`, `underlay:client:1000`, `pod:server:auto`."""
    place, end, limit = [*text.split(":"), "", ""][:3]
    try:
        return Placement(
            Place(place),
            End(end) if end else default.end,
            {"": default.limit, "auto": None}[limit] if limit in ("", "auto") else int(limit),
        )
    except ValueError:
        raise InputError(
            "--placement",
            f"'{text}' is not PLACE[:END][:LIMIT]",
            f"places: {', '.join(Place)}; ends: {', '.join(End)}; limit: packets or auto",
        ) from None


def _test(name: str) -> Test:
    try:
        return Test(name)
    except ValueError:
        raise UnknownNameError("--tests", "test", name, list(Test)) from None


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
