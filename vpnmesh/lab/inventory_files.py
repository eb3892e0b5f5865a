"""Reading the three files of an inventory folder: for Nornir, for NetBox, and for the lab's own command line.

What the files may hold is judged by `vpnmesh.documents.inventory_text`, what it means by `vpnmesh.testbed`.
"""

from pathlib import Path

from vpnmesh.documents.inventory_text import FILES, InventoryText, parse_inventory
from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.model import Testbed
from vpnmesh.testbed import build_testbed


def default_folder() -> Path:
    """`inventory/lab` where the command is given, else the one beside this package."""
    here = Path("inventory", "lab")
    return here if here.is_dir() else Path(__file__).resolve().parents[2] / "inventory" / "lab"


def files_of(folder: Path) -> dict[str, Path]:
    """The paths of an inventory's files: hosts, groups and defaults."""
    return {name: folder / f"{name}.yaml" for name in FILES}


def read_inventory(folder: Path) -> InventoryText:
    """What the files hold; InputError says which is missing, no YAML, or of another shape."""
    paths = files_of(folder)
    contents = {name: _content(path) for name, path in paths.items()}
    return parse_inventory(contents, {name: str(path) for name, path in paths.items()})


def read_testbed(folder: Path) -> Testbed:
    """The testbed of a folder, without Nornir; InputError names what is wrong."""
    return build_testbed(read_inventory(folder).records(str(files_of(folder)["hosts"])))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, "copy it from inventory/lab") from error
