"""Any inventory by its name, as the three documents that it is made of: what a lab that is like it is built from."""

from inventory.load import BUILT_IN, NETBOX, folder_of, netbox_filters, place_of
from inventory.netbox import read_documents
from inventory.netbox_client import NetBox
from vpnmesh.documents.inventory_text import InventoryText
from vpnmesh.lab.inventory_files import read_inventory
from vpnmesh.lab.sizes import LAB, size_named, sized


def inventory_text(name: str, option: str) -> tuple[InventoryText, str]:
    """The documents of a folder, of a built-in inventory or of NetBox, and the place that errors name."""
    if name.partition(":")[0] == NETBOX:
        found = read_documents(NetBox.from_environment(), netbox_filters(name))
        return InventoryText(found.hosts, found.groups, found.defaults), place_of(name)
    if (nodes := size_named(name)) is not None:
        return sized(BUILT_IN / LAB, nodes, option), name
    folder = folder_of(name, option)
    return read_inventory(folder), str(folder / "hosts.yaml")
