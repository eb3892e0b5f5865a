"""Loading an inventory, as every workflow does it: from YAML files or NetBox, as Nornir object and typed testbed."""

import os
import tempfile
from pathlib import Path

from nornir import InitNornir
from nornir.core import Nornir
from nornir.core.inventory import Host, Inventory
from nornir.core.plugins.runners import RunnerPlugin

from inventory.clear_secrets import refuse_clear_secrets
from inventory.host_keys import LOGIN, make_strict
from inventory.runner import BoundedRunner
from vpnmesh.errors import InputError
from vpnmesh.lab.directory import lab_directory
from vpnmesh.lab.inventory_files import files_of, read_inventory
from vpnmesh.lab.sizes import LAB, size_named, sized, write_inventory
from vpnmesh.model import Testbed
from vpnmesh.testbed import HostRecord, InventoryRecords, build_testbed

BUILT_IN = Path(__file__).parent
SWITCH_GROUP = "role__switch"
"""The group of hosts that are no nodes, but the switches below them."""
DEFAULT_LAB_DIRECTORY = "/run/vpnmesh/lab"


def records_of(inventory: Inventory, place: str) -> InventoryRecords:
    """What the inventory holds, host data with their groups' in it, ready to be judged."""
    hosts = tuple(
        HostRecord(
            host.name, host.hostname or "", tuple(group.name for group in host.groups), dict(host.items())
        )
        for host in inventory.hosts.values()
        if not host.has_parent_group(SWITCH_GROUP)
    )
    groups = {group.name: dict(group.data) for group in inventory.groups.values()}
    return InventoryRecords(place, hosts, groups, dict(inventory.defaults.data))


def switches_of(nr: Nornir) -> list[Host]:
    """The switches below the testbed, which are no nodes of it."""
    return [host for host in nr.inventory.hosts.values() if host.has_parent_group(SWITCH_GROUP)]


def testbed_of(nr: Nornir, place: str) -> Testbed:
    """The typed testbed behind a Nornir object; InputError names what is wrong."""
    return build_testbed(records_of(nr.inventory, place))


def load(name: str, *, workers: int | None = None) -> tuple[Nornir, Testbed]:
    """Read an inventory by folder, by the name of a built-in one (`lab`), or from NetBox, and validate it.

    `lab-12` is the lab with workers added until it has twelve nodes, `twin` the one that `lab up --like` made.

    `netbox` reads what `$NETBOX_URL` holds, with the token in `$NETBOX_TOKEN`; `netbox:site=lab,tag=study`
    a part of it. Raises InputError where a name, file or value is wrong; nothing is touched before that.
    """
    nr, place = _read(name, workers)
    return nr, testbed_of(nr, place)


def load_hosts(name: str, *, workers: int | None = None) -> Nornir:
    """The hosts of an inventory that need be no testbed: tasks run on them, but nothing is measured between them."""
    return _read(name, workers)[0]


def _read(name: str, workers: int | None) -> tuple[Nornir, str]:
    """The hosts, and the place that errors name."""
    if (nodes := _size(name)) is not None:
        with tempfile.TemporaryDirectory() as made:
            write_inventory(sized(BUILT_IN / LAB, nodes, "--inventory"), Path(made))
            return _load(name, {"plugin": "SimpleInventory", "options": _file_options(Path(made))}, workers)
    options: dict[str, object]
    if name == NETBOX or name.startswith(f"{NETBOX}:"):
        plugin, options = "NetBoxInventory", {"filters": netbox_filters(name)}
        place = place_of(name)
    else:
        folder = folder_of(name)
        files = check_folder(folder)
        plugin, options, place = "SimpleInventory", _file_options(folder), str(files["hosts"])
    return _load(place, {"plugin": plugin, "options": options}, workers)


def _load(place: str, inventory: dict[str, object], workers: int | None) -> tuple[Nornir, str]:
    nr = _nornir(inventory, workers)
    _use_lab_directory(nr.inventory)
    make_strict(nr.inventory, place)
    refuse_clear_secrets(nr.inventory, place, shared=inventory["plugin"] != "SimpleInventory")
    return nr, place


def nornir_of_files(folder: Path) -> Nornir:
    """The hosts of a folder, whose values are not judged: they were, when a run began with them."""
    nr = _nornir({"plugin": "SimpleInventory", "options": _file_options(folder)}, None)
    make_strict(nr.inventory, str(folder))
    return nr


def _nornir(inventory: dict[str, object], workers: int | None) -> Nornir:
    nr = InitNornir(inventory=inventory, logging={"enabled": False})
    return nr.with_runner(_runner(workers))


def _runner(workers: int | None) -> RunnerPlugin:
    """Threads here, or Dask workers where `$VPNMESH_DASK` names their scheduler."""
    local = BoundedRunner(workers)
    if not os.environ.get(DASK):
        return local
    from inventory.dask_runner import DaskRunner  # noqa: PLC0415 - needs an optional extra

    return DaskRunner(local=local)


DASK = "VPNMESH_DASK"
NETBOX = "netbox"
TWIN = "twin"
"""The name of the inventory that `lab up --like` writes."""
_FILES = (("host", "hosts"), ("group", "groups"), ("defaults", "defaults"))


def netbox_filters(name: str) -> dict[str, list[str]]:
    """The filters in `netbox:site=lab,tag=a,tag=b`; InputError where one is no `key=value`."""
    filters: dict[str, list[str]] = {}
    for part in filter(None, name.removeprefix(NETBOX).removeprefix(":").split(",")):
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise InputError(
                "--inventory", f"'{part}' is no filter", "write for example netbox:site=lab,tag=study"
            )
        filters.setdefault(key, []).append(value)
    return filters


def place_of(netbox: str) -> str:
    """What errors name for an inventory that NetBox holds."""
    return f"{os.environ.get('NETBOX_URL', '')} ({netbox})"


def _size(name: str) -> int | None:
    """How many nodes the lab of that name has; None where the name is a folder's, or another one."""
    nodes = size_named(name)
    return None if nodes is None or (Path(name) / "hosts.yaml").is_file() else nodes


def _file_options(folder: Path) -> dict[str, object]:
    files = files_of(folder)
    return {f"{kind}_file": str(files[file]) for kind, file in _FILES}


def check_folder(folder: Path) -> dict[str, Path]:
    """The three files of an inventory folder; InputError says which is missing, no YAML, or of another shape."""
    read_inventory(folder)
    return files_of(folder)


def folder_of(name: str, option: str = "--inventory") -> Path:
    """The folder that an inventory's name means; InputError lists the built-in ones.

    `twin` is the lab that `lab up --like` made, for as long as it is up.
    """
    twin = lab_directory(None).twin
    for folder in (Path(name), twin if name == TWIN else BUILT_IN / name):
        try:
            if (folder / "hosts.yaml").is_file():
                return folder
        except OSError as error:
            raise InputError(option, f"'{name[:80]}' cannot be read: {error.strerror}") from error
    if name == TWIN:
        raise InputError(
            option, f"no twin is up in {twin.parent}", "python -m vpnmesh.lab up --like INVENTORY"
        )
    built_in = sorted(path.parent.name for path in BUILT_IN.glob("*/hosts.yaml"))
    raise InputError(
        option,
        f"'{name}' is no folder with a hosts.yaml",
        f"built in are: {', '.join(built_in)}, lab-12 and other sizes of the lab, twin; or netbox",
    )


def _use_lab_directory(inventory: Inventory) -> None:
    """Point the lab's key files at `$VPNMESH_LAB_DIR`, so that two labs can be up at once."""
    directory = os.environ.get("VPNMESH_LAB_DIR")
    options = inventory.defaults.connection_options.get(LOGIN)
    if not directory or options is None or not options.extras:
        return
    for key in ("key_file", "alt_key_file"):
        value = str(options.extras.get(key, ""))
        if value.startswith(DEFAULT_LAB_DIRECTORY):
            options.extras[key] = directory + value.removeprefix(DEFAULT_LAB_DIRECTORY)
