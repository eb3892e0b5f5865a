"""pfSense's configuration as it was read, by the API or from config.xml: what is ours, and what differs from before."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from vpnmesh.firewall.pfsense_objects import Mark, Schedule

LIFETIME = timedelta(hours=2)
"""How long rules hold without being renewed."""


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """An object as the firewall holds it: its place in the array, its description, and all else as canonical JSON."""

    place: int
    descr: str
    text: str

    @property
    def fields(self) -> dict[str, object]:
        """The fields, without the id."""
        loaded: dict[str, object] = json.loads(self.text)
        return loaded


@dataclass(frozen=True, slots=True)
class PfsenseConfig:
    """The firewall's configuration as far as a change can touch it; None = this appliance has no such path.

    `local_time` is the firewall's own clock when it was read, in its own time zone: schedules go by it.
    """

    rules: tuple[ConfigEntry, ...]
    aliases: tuple[ConfigEntry, ...]
    schedules: tuple[ConfigEntry, ...] | None = None
    mappings: tuple[ConfigEntry, ...] | None = None
    nat_mode: str | None = None
    local_time: datetime | None = None
    sections: tuple[str, ...] = field(default=("rules", "aliases", "schedules", "mappings"), repr=False)

    def entries(self) -> tuple[tuple[str, ConfigEntry], ...]:
        """Every object with the section it is in."""
        return tuple((name, entry) for name in self.sections for entry in getattr(self, name) or ())

    def marked(self, prefix: str) -> tuple[tuple[str, ConfigEntry], ...]:
        """The objects whose description begins so."""
        return tuple((name, entry) for name, entry in self.entries() if entry.descr.startswith(prefix))

    def snapshot(self) -> dict[str, object]:
        """What a roll back must come back to: all objects in order, without their ids."""
        sections = {name: getattr(self, name) for name in self.sections}
        found = {name: [one.fields for one in held] for name, held in sections.items() if held is not None}
        return {**found, "nat_mode": self.nat_mode}

    @property
    def expires(self) -> bool:
        """Whether rules can be made that end by themselves: that takes schedules, and the clock that they go by."""
        return self.schedules is not None and self.local_time is not None

    def without(self, mark: Mark) -> "PfsenseConfig":
        """The configuration without what a run made."""

        def foreign(found: tuple[ConfigEntry, ...]) -> tuple[ConfigEntry, ...]:
            return tuple(one for one in found if not one.descr.startswith(mark.prefix))

        return replace(
            self,
            rules=foreign(self.rules),
            aliases=foreign(self.aliases),
            schedules=None if self.schedules is None else foreign(self.schedules),
            mappings=None if self.mappings is None else foreign(self.mappings),
        )

    def schedule_of(self, mark: Mark) -> ConfigEntry | None:
        """The schedule that this run's rules end by; None where they have none."""
        return next((one for one in self.schedules or () if one.descr.startswith(mark.prefix)), None)


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[str, ...]:
    """Which sections are not as in the snapshot, and how."""
    found = []
    for name in sorted({*before, *after}):
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        if not (isinstance(one, list) and isinstance(other, list)):
            found.append(f"{name}: {str(one)[:60]} became {str(other)[:60]}")
            continue
        lost = [item for item in one if item not in other]
        added = [item for item in other if item not in one]
        found.append(
            f"{name}: {len(lost)} missing, {len(added)} added" if lost or added else f"{name}: another order"
        )
    return tuple(found)


def ends_after(fields: Mapping[str, object], wanted: Schedule) -> bool:
    """Whether a held schedule, as the API or config.xml has it, lasts at least as long as the wanted one."""
    ranges = fields.get("timerange")
    held = (
        [(_number(one["month"]), _number(one["day"]), _minutes(one["hour"])) for one in ranges]
        if isinstance(ranges, list)
        else []
    )
    last = wanted.ranges[-1]
    return bool(held) and held[-1] >= (last.month, last.day, _minutes(last.hours))


def _number(value: object) -> int:
    return int(str(value[0] if isinstance(value, list) else value))


def _minutes(hours: str) -> int:
    end = hours.split("-")[1].split(":")
    return int(end[0]) * 60 + int(end[1])
