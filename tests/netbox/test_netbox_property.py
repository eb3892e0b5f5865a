"""Whatever data an inventory holds, what is stored for NetBox reads back as the same inventory (no server needed)."""

from ipaddress import ip_interface, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.documents import Documents, mapping, read_folder
from inventory.load import BUILT_IN
from inventory.netbox_objects import objects_of
from inventory.netbox_records import documents_of, overlaid
from inventory.netbox_rows import (
    DEVICE_PORT,
    ChoiceValue,
    PortVlan,
    PrimaryAddress,
    RawAddress,
    RawHost,
    RawPort,
    RawPrefix,
    Related,
    Rows,
    Slug,
)

NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True).filter(
    lambda name: "secret" not in name and "token" not in name
)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=9)
    | st.floats(allow_nan=False, allow_infinity=False)
)
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)
# a key that holds nothing is no key: Nornir's `get` cannot tell the two apart
DATA = st.dictionaries(
    NAMES.map(lambda name: f"x_{name}"), NESTED.filter(lambda value: value is not None), max_size=3
)
LAB = read_folder(BUILT_IN / "lab")


def with_data(entry: dict[str, object], data: dict[str, Any]) -> dict[str, object]:
    """The entry with more data."""
    merged = {**mapping(entry.get("data")), **data}
    return {**entry, "data": merged} if merged else entry


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations(list(LAB.hosts)),
    groups=st.permutations(list(LAB.groups)),
    data=st.lists(DATA, min_size=6, max_size=6),
    defaults=DATA,
)
def test_any_data_in_any_order_is_storable(
    order: list[str], groups: list[str], data: list[dict[str, Any]], defaults: dict[str, Any]
) -> None:
    """`objects_of` reads back what it is about to store, and refuses with an error if it is not the same."""
    documents = Documents(
        {name: with_data(LAB.hosts[name], more) for name, more in zip(order, data, strict=True)},
        {name: with_data(LAB.groups[name], more) for name, more in zip(groups, data * 2, strict=True)},
        with_data(LAB.defaults, defaults),
    )
    kinds = [one.kind for one in objects_of(documents, "lab")]
    assert (kinds.count("dcim/devices"), kinds.count("extras/config-contexts")) == (6, 1)


@pytest.mark.parametrize("name", sorted(path.parent.name for path in BUILT_IN.glob("*/hosts.yaml")))
def test_every_built_in_inventory_is_storable(name: str) -> None:
    """NetBox can hold what the project ships."""
    assert objects_of(read_folder(BUILT_IN / name), name)


def test_null_in_an_overlay_takes_a_key_away() -> None:
    """A context can say that a host or group lacks what NetBox's own fields would give it."""
    have: dict[str, object] = {"platform": "linux", "data": {"name": "a", "prefix": "b"}}
    assert overlaid(have, {"platform": None, "data": {"name": None}}) == {"data": {"prefix": "b"}}


def test_port_in_a_vlan_without_prefix_has_only_addresses_of_the_testbed() -> None:
    """Its address counts where it is in the prefix of a VLAN that was asked for, whatever else was read."""
    primary = PrimaryAddress(ip_interface("198.51.100.1/32"))
    host = RawHost(
        id=1, name="a", status=ChoiceValue("active"), site=None, role=Slug("k8s-worker"), platform=None, tags=(),
        primary_ip4=primary, primary_ip6=None, custom_fields={}, config_context={},
    )  # fmt: skip
    port = RawPort(1, "eth0", PortVlan(77, 77, "bare"), Related(1))
    address = RawAddress(1, ip_interface("203.0.113.5/24"), None, DEVICE_PORT, 1)
    other = RawPrefix(1, ip_network("203.0.113.0/24"), Related(78))
    data = {"kind": "metal", "interface": "eth0"}
    for prefixes, expected in (((), data), ((other,), {**data, "underlay": "203.0.113.5/24"})):
        rows = Rows((host,), device_ports=(port,), addresses=(address,), prefixes=prefixes)
        assert documents_of("here", rows).hosts["a"]["data"] == expected
