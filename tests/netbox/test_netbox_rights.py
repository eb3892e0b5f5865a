"""What a token must be allowed, and no more: these rights are enough, and each of them is needed."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from inventory.documents import read_folder
from inventory.netbox import read_documents
from inventory.netbox_client import NetBox, Query
from inventory.sync import KINDS, apply
from tests.netbox.admin import Admin
from tests.netbox.server import NetBoxServer
from vpnmesh.errors import InputError

DOCS = Path(__file__).resolve().parents[2] / "docs" / "netbox.md"
READ = (
    "dcim.device",
    "dcim.interface",
    "ipam.ipaddress",
    "ipam.prefix",
    "virtualization.virtualmachine",
    "virtualization.vminterface",
)
"""What the inventory looks at; of virtual machines only where there are any, or a filter may mean them."""
MODELS = {
    "dcim/device-roles": "dcim.devicerole",
    "dcim/device-types": "dcim.devicetype",
    "dcim/devices": "dcim.device",
    "dcim/interfaces": "dcim.interface",
    "dcim/manufacturers": "dcim.manufacturer",
    "dcim/platforms": "dcim.platform",
    "dcim/sites": "dcim.site",
    "extras/config-contexts": "extras.configcontext",
    "extras/custom-field-choice-sets": "extras.customfieldchoiceset",
    "extras/custom-fields": "extras.customfield",
    "extras/tags": "extras.tag",
    "ipam/ip-addresses": "ipam.ipaddress",
    "ipam/prefixes": "ipam.prefix",
    "ipam/vlan-groups": "ipam.vlangroup",
    "ipam/vlans": "ipam.vlan",
    "virtualization/interfaces": "virtualization.vminterface",
    "virtualization/virtual-machines": "virtualization.virtualmachine",
}
"""NetBox's name of each kind of object, as permissions have it."""
OWNED = tuple(MODELS[kind] for kind, how in KINDS.items() if how.owned)
SHARED = tuple(MODELS[kind] for kind, how in KINDS.items() if not how.owned)


def token(admin: Admin, name: str, rights: Iterable[tuple[Iterable[str], tuple[str, ...]]]) -> str:
    """A new user's token; the user may do these actions with objects of these kinds, and nothing else."""
    user = admin.make("users/users", username=name, password="Not-Used-2026-x")["id"]
    for number, (models, actions) in enumerate(rights):
        fields = {"object_types": list(models), "actions": list(actions), "users": [user]}
        admin.make("users/permissions", name=f"{name} {number}", **fields)
    made = admin.make("users/tokens", user=user, version=2)
    return f"nbt_{made['key']}.{made['token']}"


def may_not(kind: str) -> AbstractContextManager[object]:
    """NetBox refuses, and the sentence names what."""
    return pytest.raises(InputError, match=rf"{kind}: 403.*may the token in .NETBOX_TOKEN")


def test_the_inventory_reads_with_six_rights(seeded: NetBoxServer, admin: Admin) -> None:
    """Viewing six kinds of objects; without one of the first four NetBox refuses, or hides what is needed."""
    reader = token(admin, "reader", [(READ, ("view",))])
    assert len(read_documents(NetBox(seeded.url, reader), {"site": "lab"}).hosts) == 6
    for missing in READ[:4]:
        less = token(admin, f"no-{missing}", [([one for one in READ if one != missing], ("view",))])
        with pytest.raises(InputError):
            read_documents(NetBox(seeded.url, less), {"site": "lab"})


def test_seeding_needs_these_rights(empty: NetBoxServer, admin: Admin, lab_folder: Path) -> None:
    """All four actions on what it owns; of what others use too, making and viewing, and never deleting."""
    documents = read_folder(lab_folder)
    rights = [(OWNED, ("view", "add", "change", "delete")), (SHARED, ("view", "add"))]
    reader = token(admin, "no-writer", [((*OWNED, *SHARED), ("view",))])
    with may_not(""):
        apply(NetBox(empty.url, reader), documents, "lab")
    writer = token(admin, "writer", rights)
    assert apply(NetBox(empty.url, writer), documents, "lab")
    assert not apply(NetBox(empty.url, writer), documents, "lab")
    with may_not("dcim/racks"):
        NetBox(empty.url, writer).read(Query("dcim/racks"))


def test_the_documentation_lists_exactly_these_rights() -> None:
    """docs/netbox.md names every kind, under what a reader needs and what seeding needs."""
    text = DOCS.read_text(encoding="utf-8")
    assert set(MODELS) == set(KINDS)
    for title, models in (("read", READ), ("seed, its own", OWNED), ("seed, shared", SHARED)):
        assert f"| {title} | {', '.join(sorted(models))} |" in text, title
