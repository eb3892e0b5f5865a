"""NetBox's rows as types: the fields that are asked for, and none else."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface, ip_network
from typing import Annotated

from pydantic import PlainValidator

DEVICE_PORT = "dcim.interface"
VM_PORT = "virtualization.vminterface"


def _text(value: object) -> str:
    """The value if it is a text: `ip_interface` would take numbers too."""
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004 - pydantic takes this one for bad input
    return value


def _interface(value: object) -> IPv4Interface | IPv6Interface:
    return ip_interface(_text(value))


def _network(value: object) -> IPv4Network | IPv6Network:
    return ip_network(_text(value))


# read once, for in a large fleet reading addresses is most of what this side does
Address = Annotated[IPv4Interface | IPv6Interface, PlainValidator(_interface)]
"""An address with its prefix length, as NetBox writes it."""
Prefix = Annotated[IPv4Network | IPv6Network, PlainValidator(_network)]


@dataclass(frozen=True, slots=True)
class Slug:
    """A related object that its slug names."""

    slug: str


@dataclass(frozen=True, slots=True)
class ChoiceValue:
    """A value out of a list."""

    value: str


@dataclass(frozen=True, slots=True)
class Related:
    """A related object, by id."""

    id: int


@dataclass(frozen=True, slots=True)
class PrimaryAddress:
    """The address by which a host is managed, with its prefix length."""

    address: Address


@dataclass(frozen=True, slots=True)
class PortVlan:
    """The VLAN that a port sends without a tag."""

    id: int
    vid: int
    name: str


@dataclass(frozen=True, slots=True)
class RawHost:
    """A device or a virtual machine."""

    id: int
    name: str | None
    status: ChoiceValue
    site: Slug | None
    role: Slug | None
    platform: Slug | None
    tags: tuple[Slug, ...]
    primary_ip4: PrimaryAddress | None
    primary_ip6: PrimaryAddress | None
    custom_fields: Mapping[str, object]
    config_context: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RawPort:
    """An interface of either."""

    id: int
    name: str
    untagged_vlan: PortVlan | None
    device: Related | None = None
    virtual_machine: Related | None = None


@dataclass(frozen=True, slots=True)
class RawAddress:
    """An address on a port (`assigned_object_type` says of which kind), or on nothing."""

    id: int
    address: Address
    role: ChoiceValue | None
    assigned_object_type: str | None
    assigned_object_id: int | None


@dataclass(frozen=True, slots=True)
class RawPrefix:
    """A prefix, and the VLAN in which it is used."""

    id: int
    prefix: Prefix
    vlan: Related | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything that was read; device and VM ids overlap, so each kind has its own list."""

    devices: tuple[RawHost, ...]
    machines: tuple[RawHost, ...] = ()
    device_ports: tuple[RawPort, ...] = ()
    machine_ports: tuple[RawPort, ...] = ()
    addresses: tuple[RawAddress, ...] = ()
    prefixes: tuple[RawPrefix, ...] = ()
