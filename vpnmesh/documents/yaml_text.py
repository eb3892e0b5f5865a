"""YAML that somebody wrote, as plain values: everything that is wrong with it is one InputError with its place.

Stricter than YAML itself where it would hide a mistake (a key that is there twice wins in silence) or let a small
file become a large value (aliases of aliases).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from yaml._yaml import CParser
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from vpnmesh.errors import UNREADABLE, InputError

MOST_NESTED = 40
MOST_BY_ALIAS = 100_000
"""How many values a file's aliases may add to those that are written in it."""


class _Fast(Composer, CParser, SafeConstructor, Resolver):
    """PyYAML's safe loader with libyaml's scanner, which takes a fifth of the time.

    Nodes are composed in Python all the same: libyaml's composer ends the process where a text is nested too deep.
    """

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)


def parse_yaml(data: bytes, place: str) -> object:
    """The value that a YAML document in UTF-8 holds, None for an empty one; InputError names the place and line."""
    text = _text(data, place)
    try:
        try:
            return _value(_Fast(text), place)
        except yaml.YAMLError:
            # libyaml refuses some that PyYAML reads, such as {a:}, and says less of where
            return _value(yaml.SafeLoader(text), place)
    except yaml.YAMLError as error:
        raise InputError(place, f"no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise InputError(place, f"nested deeper than {MOST_NESTED} levels") from error
    except UNREADABLE as error:
        # a date that is none (PyYAML stumbles over an empty one), a number of thousands of digits
        raise InputError(
            place, f"holds a value that cannot be read: {error}", "write it in quotes"
        ) from error


def _value(loader: "yaml.SafeLoader | _Fast", place: str) -> object:
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _Nodes(place).check(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def unreadable(path: Path, error: OSError, way_out: str = "") -> InputError:
    """What to raise where a file cannot be read."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return InputError(str(path), "missing", way_out)
    return InputError(str(path), f"cannot be read: {error.strerror or error}")


def _text(data: bytes, place: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = f"line {line}: no text: byte 0x{data[error.start]:02x} is no UTF-8"
        raise InputError(place, problem, "save it as UTF-8") from error
    if "\0" in text:
        raise InputError(place, f"line {text.partition(chr(0))[0].count(chr(10)) + 1}: no text: a NUL byte")
    return text


@dataclass(slots=True)
class _Nodes:
    """A walk over a document before anything is made of it; `sizes` are those with all aliases written out."""

    place: str
    sizes: dict[int, int] = field(default_factory=dict)
    inside: set[int] = field(default_factory=set)

    def check(self, node: yaml.Node) -> None:
        """InputError at the first thing that is wrong."""
        size = self._size(node, "")
        if size - len(self.sizes) > MOST_BY_ALIAS:
            raise InputError(self.place, f"its aliases add more than {MOST_BY_ALIAS:,} values")

    def _size(self, node: yaml.Node, key: str) -> int:
        if id(node) in self.inside:
            raise InputError(f"{self.place}: {key or 'the file'}", "an alias of what it is part of")
        if id(node) not in self.sizes:
            if len(self.inside) >= MOST_NESTED:
                raise InputError(f"{self.place}: {key}", f"nested deeper than {MOST_NESTED} levels")
            self.inside.add(id(node))
            self.sizes[id(node)] = 1 + sum(self._size(one, name) for name, one in self._children(node, key))
            self.inside.remove(id(node))
        return self.sizes[id(node)]

    def _children(self, node: yaml.Node, key: str) -> Iterator[tuple[str, yaml.Node]]:
        if isinstance(node, yaml.SequenceNode):
            yield from ((key, one) for one in node.value)
        if not isinstance(node, yaml.MappingNode):
            return
        seen: set[tuple[str, str]] = set()
        for name, value in node.value:
            path = f"{key}: {name.value}".removeprefix(": ") if isinstance(name, yaml.ScalarNode) else key
            if isinstance(name, yaml.ScalarNode):
                self._once(name, path, seen)
            yield from ((path, name), (path, value))

    def _once(self, name: yaml.ScalarNode, path: str, seen: set[tuple[str, str]]) -> None:
        known = (name.tag, name.value)
        if known in seen:
            line = name.start_mark.line + 1
            raise InputError(f"{self.place}: {path}", f"line {line}: the key is there twice", "keep one")
        seen.add(known)
