"""How a run's nodes are reached, kept beside its results without any secret, and an inventory made of that again.

Whoever cleans up after a run needs its nodes as they were then, whatever has become of the inventory since.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml
from nornir.core import Nornir
from nornir.core.inventory import Inventory
from pydantic import JsonValue

from inventory.load import nornir_of_files
from vpnmesh.lab.inventory_files import files_of

_SECRET = re.compile(
    r"password|passphrase|secret|token|private|credential|community|api_?key$|_lease$", re.IGNORECASE
)
"""What keys are called whose values stay where they are: secrets, and the token of a session's lease."""


def kept_inventory(inventory: Inventory) -> dict[str, JsonValue]:
    """Hosts, groups and defaults as a manifest keeps them."""
    found = _without_secrets(inventory.dict())
    assert isinstance(found, dict)
    return found


def nornir_of_kept(kept: Mapping[str, JsonValue], now: Nornir | None = None) -> Nornir:
    """The nodes as they were kept; passwords are those of the inventory of today, where it has such a node still."""
    with tempfile.TemporaryDirectory() as made:
        for part, path in files_of(Path(made)).items():
            path.write_text(yaml.safe_dump(kept.get(part) or {}), encoding="utf-8")
        nr = nornir_of_files(Path(made))
    for name, host in nr.inventory.hosts.items():
        today = now.inventory.hosts.get(name) if now else None
        if today is not None and today.hostname == host.hostname:
            host.password = today.password
            host.data |= {key: value for key, value in today.items() if _SECRET.search(str(key))}
    return nr


def _without_secrets(value: object) -> JsonValue:
    """A value for JSON, every key with a secret's name left out."""
    if isinstance(value, Mapping):
        return {str(key): _without_secrets(one) for key, one in value.items() if not _SECRET.search(str(key))}
    if isinstance(value, list | tuple):
        return [_without_secrets(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
