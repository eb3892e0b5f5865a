"""What each product's own words say of a pair of NATs, and the scenario in which the NAT grid tries the product."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from vpnmesh.documents.yaml_text import parse_yaml
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.firewall.nat_kinds import BEHAVIOURS, Depends, NatKind
from vpnmesh.host.dual_stack import IPV6_ALONE

FILE = "nat_promises.yaml"
NatClass = Literal["none", "easy", "hard", "no-udp", "ipv6", "any"]
"""Kinds as products speak of them: no NAT, one port for all peers, a port per peer, no UDP, IPv6 alone."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a product says of the pairs between two classes; `path` some: it connects, on which path is not said."""

    between: tuple[NatClass, NatClass]
    path: Literal["direct", "relay", "some", "none"]
    source: str
    url: str

    def is_of(self, one: NatClass, other: NatClass) -> bool:
        """Whether it speaks of that pair, in either order."""
        first, second = self.between
        return (_fits(first, one) and _fits(second, other)) or (_fits(first, other) and _fits(second, one))


@dataclass(frozen=True, slots=True)
class Product:
    """A solution in the grid: its scenario, and what is promised; the first promise that fits a pair is its own."""

    scenario: str
    promises: tuple[Promise, ...]

    def promise(self, client: NatKind, server: NatKind) -> Promise | None:
        """What is promised of that pair, None where nothing is, or where the pair is none of the classes."""
        one, other = class_of(client), class_of(server)
        # what products say of easy NATs is said of two different ones
        if not (BEHAVIOURS[client].hairpins or BEHAVIOURS[server].hairpins):
            return None
        return next((promise for promise in self.promises if promise.is_of(one, other)), None)


def class_of(kind: NatKind) -> NatClass:
    """The class of a kind."""
    behaviour = BEHAVIOURS[kind]
    if behaviour.families == IPV6_ALONE:
        return "ipv6"
    if not behaviour.udp:
        return "no-udp"
    if not behaviour.routers:
        return "none"
    return "easy" if behaviour.mapping is Depends.NOTHING else "hard"


@cache
def products() -> Mapping[str, Product]:
    """By name of the solution, in the order of the file."""
    place = f"vpnmesh/reference/{FILE}"
    data = resources.files(__package__).joinpath(FILE).read_bytes()
    try:
        return TypeAdapter(dict[str, Product]).validate_python(parse_yaml(data, place))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{place}: {'.'.join(map(str, first['loc']))}", first["msg"]) from error


def product_named(name: str) -> Product:
    """The solution of that name; UnknownNameError lists those of the file."""
    known = products()
    if name not in known:
        raise UnknownNameError("--solutions", "solution of the NAT grid", name, list(known))
    return known[name]


def _fits(asked: NatClass, found: NatClass) -> bool:
    return asked in ("any", found)
