"""Finding what can be plugged in: the modules of a package, then what installed packages offer as entry points.

A module registers by defining one name: `MEASUREMENT = Ping()`, or `MEASUREMENTS = (Tcp(), Udp())` where it has more
than one. A package of the user's own does the same by an entry point of the group, with nothing changed here:

    [project.entry-points."vpnmesh.measurements"]
    dns = "my_package.dns:MEASUREMENT"

The order is that of the modules' names, then that of the entry points' names, so it is the same on every machine.
"""

import re
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Any, TypeVar

from vpnmesh.errors import InputError, UnknownNameError

T = TypeVar("T")

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SEVERAL = (list, tuple)


def discover(package: str, attribute: str, group: str, kind: type[Any] | None = None) -> dict[str, T]:
    """Everything of one kind, by its `name`: from the package's modules, then from entry points of the group.

    `attribute` is the name that a module defines for one thing (`MEASUREMENT`); with an S at its end it is a tuple of
    things. An entry point gives one thing or a tuple. `kind` is the Protocol whose members every thing must have.

    Raises InputError, naming the module or entry point, for a thing without a slug as its name, for one that lacks a
    member of `kind`, for a name that is there already, and for an entry point that cannot be loaded.
    """
    found: dict[str, T] = {}
    origins: dict[str, str] = {}
    for origin, thing in (*_of_modules(package, attribute), *_of_entry_points(group)):
        name = _name_of(thing, origin, kind)
        if name in found and found[name] is not thing:
            raise InputError(
                origin, f"the name '{name}' is taken by {origins[name]}", "give one of them another name"
            )
        found.setdefault(name, thing)
        origins.setdefault(name, origin)
    return found


class Registry(MutableMapping[str, T]):
    """What `discover` finds, looked for when it is first asked for, so that an import never fails by a plug-in.

    `word` is what the things are called in messages. A thing that is put in by hand (`registry["mine"] = Mine()`)
    is known for the rest of the process.
    """

    def __init__(
        self, package: str, attribute: str, group: str, kind: type[Any] | None = None, *, word: str
    ) -> None:
        self._where = (package, attribute, group, kind)
        self._word = word
        self._found: dict[str, T] | None = None

    @property
    def things(self) -> dict[str, T]:
        """All of them by name, in order; InputError as `discover` raises it."""
        if self._found is None:
            self._found = discover(*self._where)
        return self._found

    def named(self, name: str, place: str = "") -> T:
        """The thing of that name; UnknownNameError lists the known ones. `place` is where the name was written."""
        try:
            return self.things[name]
        except KeyError:
            raise UnknownNameError(place or self._word, self._word, name, list(self.things)) from None

    def __getitem__(self, name: str) -> T:
        return self.things[name]

    def __setitem__(self, name: str, thing: T) -> None:
        self.things[name] = thing

    def __delitem__(self, name: str) -> None:
        del self.things[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.things)

    def __len__(self) -> int:
        return len(self.things)


def _of_modules(package: str, attribute: str) -> Iterator[tuple[str, Any]]:
    """Every thing that a module of the package defines, with the module's name."""
    for name in sorted(module.name for module in iter_modules(import_module(package).__path__)):
        module = import_module(f"{package}.{name}")
        things = [*_several(getattr(module, f"{attribute}S", ()))]
        things += [getattr(module, attribute)] if hasattr(module, attribute) else []
        yield from ((module.__name__, thing) for thing in things)


def _of_entry_points(group: str) -> Iterator[tuple[str, Any]]:
    for point in sorted(entry_points(group=group), key=lambda one: one.name):
        origin = f"entry point {point.name} of {group}"
        yield from ((origin, thing) for thing in _several(_loaded(point, origin)))


def _loaded(point: EntryPoint, origin: str) -> object:
    try:
        return point.load()
    except Exception as error:
        package = point.dist.name if point.dist else point.value
        raise InputError(
            origin,
            f"{point.value} cannot be loaded: {type(error).__name__}: {error}",
            f"mend or uninstall the package {package}",
        ) from error


def _several(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, _SEVERAL) else (value,)


def _name_of(thing: object, origin: str, kind: type[Any] | None) -> str:
    """The thing's name; InputError where it has none or is not of the kind."""
    name = getattr(thing, "name", None)
    if not isinstance(name, str) or not _SLUG.fullmatch(name):
        raise InputError(
            origin, f"its name is {name!r}", "set `name` to lower-case letters, digits and hyphens"
        )
    lacking = [member for member in _members(kind) if not hasattr(thing, member)]
    if lacking:
        wanted = kind.__name__ if kind else ""
        raise InputError(
            origin, f"'{name}' is no {wanted}: it lacks {', '.join(lacking)}", f"see {wanted}'s docstring"
        )
    return name


def _members(kind: type[Any] | None) -> list[str]:
    """The public names that a Protocol declares, in its order."""
    declared = (*kind.__annotations__, *vars(kind)) if kind else ()
    return [name for name in dict.fromkeys(declared) if not name.startswith("_")]
