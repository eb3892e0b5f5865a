"""The configuration that the stand-in keeps, as pfSense keeps it: lists whose places are the ids, written at once."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

Item = dict[str, Any]
SECTIONS = ("rules", "aliases", "schedules", "mappings")


class ConflictError(Exception):
    """Something else still needs the object (409)."""


class InvalidError(Exception):
    """A value that the schema allows and pfSense does not (400)."""


class MissingError(Exception):
    """No object with that id (404)."""


@dataclass
class Config:
    """What config.xml holds, and what of it is not loaded yet."""

    interfaces: dict[str, tuple[str, ...]]
    sections: dict[str, list[Item]] = field(default_factory=lambda: {name: [] for name in SECTIONS})
    nat_mode: str = "hybrid"
    timezone: str = "Etc/UTC"
    history: list[Item] = field(default_factory=list)
    dirty: set[str] = field(default_factory=set)
    path: Path | None = None
    clock: Callable[[], float] = time.time
    lock: threading.RLock = field(default_factory=threading.RLock)

    def listed(self, section: str) -> list[Item]:
        """The objects with their present ids."""
        with self.lock:
            found = [{"id": place, **item} for place, item in enumerate(self.sections[section])]
        if section == "schedules":
            found = [{**item, "active": self.active(item)} for item in found]
        return found

    def create(self, section: str, item: Item) -> Item:
        """Append an object; refuses what pfSense would refuse."""
        with self.lock:
            checked = {"rules": self._rule, "aliases": self._alias, "schedules": self._schedule}.get(section)
            item = checked(dict(item)) if checked else dict(item)
            self.sections[section].append(item)
            self._wrote(section)
            return {"id": len(self.sections[section]) - 1, **item}

    def update(self, section: str, place: int, changes: Item) -> Item:
        """Change the object that has this id now."""
        with self.lock:
            if not 0 <= place < len(self.sections[section]):
                raise MissingError(f"no object with id {place}")
            self.sections[section][place] |= {key: value for key, value in changes.items() if key != "id"}
            self._wrote(section)
            return {"id": place, **self.sections[section][place]}

    def delete(self, section: str, place: int) -> Item:
        """Delete the object that has this id now; all later ids become one less."""
        with self.lock:
            if not 0 <= place < len(self.sections[section]):
                raise MissingError(f"no object with id {place}")
            item = self.sections[section][place]
            if section == "schedules" and any(
                rule.get("sched") == item["name"] for rule in self.sections["rules"]
            ):
                raise ConflictError(f"schedule {item['name']} is in use by a firewall rule")
            # an alias in use can be deleted: its rules then stay in the configuration and are not loaded
            del self.sections[section][place]
            self._wrote(section)
            return item

    def active(self, schedule: Item) -> bool:
        """Whether the firewall's own clock is inside one of the schedule's ranges."""
        now = datetime.fromtimestamp(self.clock(), ZoneInfo(self.timezone))
        for one in schedule["timerange"]:
            start, end = (_minutes(text) for text in one["hour"].split("-"))
            today = any(pair == (now.month, now.day) for pair in zip(one["month"], one["day"], strict=True))
            if today and start <= now.hour * 60 + now.minute < end:
                return True
        return False

    def content(self) -> Item:
        """All that a backup would hold."""
        with self.lock:
            return json.loads(json.dumps({**self.sections, "nat_mode": self.nat_mode}))  # type: ignore[no-any-return]

    def _wrote(self, section: str) -> None:
        now = int(self.clock())
        # a backup is a file named by its second: two writes of one second leave one
        self.history = [one for one in self.history if one["time"] != now]
        self.history.append({"time": now, "description": f"api@test: {section} changed"})
        subsystem = {"rules": "filter", "aliases": "aliases", "mappings": "natconf"}.get(section)
        self.dirty |= {subsystem} if subsystem else set()
        if self.path:
            temporary = self.path.with_suffix(".new")
            temporary.write_text(json.dumps(self.content()), encoding="utf-8")
            temporary.replace(self.path)

    def _rule(self, item: Item) -> Item:
        if len(item["interface"]) > 1 and not item.get("floating"):
            raise InvalidError(
                "Field `interface` cannot contain more than one value unless `floating` is enabled."
            )
        if unknown := set(item["interface"]) - set(self.interfaces) - {"any"}:
            raise InvalidError(f"unknown interface {sorted(unknown)}")
        names = {alias["name"] for alias in self.sections["aliases"]}
        for end in ("source", "destination"):
            value = item[end].removeprefix("!")
            if not (value in {"any", "(self)"} | set(self.interfaces) | names or value[:1].isdigit()):
                raise InvalidError(f"Field `{end}` value '{value}' is no address, interface or alias.")
        if item.get("sched") not in {None, *(one["name"] for one in self.sections["schedules"])}:
            raise InvalidError("Field `sched` names no schedule.")
        defaults = {
            "protocol": None,
            "disabled": False,
            "log": False,
            "statetype": "keep state",
            "sched": None,
        }
        defaults |= {
            "floating": False,
            "quick": None,
            "direction": None,
            "source_port": None,
            "destination_port": None,
        }
        now = int(self.clock())
        # the tracker is the second of creation: two rules of one second share it
        return {
            **defaults,
            "descr": "",
            **item,
            "tracker": now,
            "created_time": now,
            "created_by": "api@test",
        }

    def _alias(self, item: Item) -> Item:
        if any(alias["name"] == item["name"] for alias in self.sections["aliases"]):
            raise InvalidError("Field `name` must be unique.")
        if not item["name"].replace("_", "").isalnum():
            raise InvalidError(f"Invalid firewall alias name '{item['name']}'.")
        return {"descr": "", "detail": [], **item}

    def _schedule(self, item: Item) -> Item:
        if any(one["name"] == item["name"] for one in self.sections["schedules"]):
            raise InvalidError("Field `name` must be unique.")
        for one in item["timerange"]:
            if any(text[-2:] not in {"00", "15", "30", "45", "59"} for text in one["hour"].split("-")):
                raise InvalidError(
                    "Field `hour` can only specify one of minute value choices: [00,15,30,45,59]."
                )
        return {"descr": "", **item}


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
