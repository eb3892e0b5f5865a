"""Secrets that an inventory has in the clear: refused by name, whether it comes from YAML or from NetBox."""

import re
from collections.abc import Iterator, Mapping

from nornir.core.inventory import Inventory

from inventory.secrets import WAY_OUT, Way, is_source
from vpnmesh.errors import InputError

_NAMED = re.compile(
    r"password|passphrase|passwd|secret|token|community|api_?key$|pfsense_key$", re.IGNORECASE
)
"""What keys are called whose values would be secrets."""
_KEY = "PRIVATE KEY-----"
OURS = "VPNMESH_"
"""How variables begin that NetBox may name: whoever writes there must not choose which variable is sent where."""
_LOGIN = {"password": "ssh_password", "passphrase": "ssh_passphrase", "secret": "enable_password"}
"""Nornir's and netmiko's own keys, and the key of a host's data that says where such a secret comes from."""


def refuse_clear_secrets(inventory: Inventory, place: str, *, shared: bool = False) -> None:
    """InputError names the first secret in the clear, and the way out.

    `shared`: the inventory is a server's that others may write to, so it may name no command that is run here.
    """
    for name, key, value in _values(inventory):
        if is_source(value):
            _refuse_chosen(f"{place}: {name}: {key}", value, shared=shared)
        elif _is_secret(key.rpartition(".")[2], value):
            raise InputError(f"{place}: {name}: {key}", "a secret in the clear", _way_out(key))


def _values(inventory: Inventory) -> Iterator[tuple[str, str, object]]:
    """Everything that an inventory says, with who says it and the way there."""
    content = inventory.dict()
    every = {"defaults": content["defaults"], **content["groups"], **content["hosts"]}
    for name, entry in every.items():
        for key, value in _below("", entry):
            yield name, key, value


def _below(way: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and not is_source(value):
        for key, one in value.items():
            yield from _below(f"{way}.{key}" if way else str(key), one)
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, Mapping):
                yield from _below(way, one)
        yield way, value
    else:
        yield way, value


def _is_secret(key: str, value: object) -> bool:
    if isinstance(value, str) and _KEY in value:
        return True
    return bool(_NAMED.search(key)) and value not in (None, "", [], {}) and not isinstance(value, bool)


def _way_out(key: str) -> str:
    *before, last = key.split(".")
    if before and before[0] == "data":
        return WAY_OUT
    return f"take it out, and below {_LOGIN.get(last, last)} in the host's data {WAY_OUT}"


def _refuse_chosen(place: str, value: object, *, shared: bool) -> None:
    """A server's inventory must not decide what runs here, nor which variable of ours is sent to a machine."""
    assert isinstance(value, Mapping)
    if not shared:
        return
    if Way.COMMAND in value:
        problem = "a command from NetBox, which is not run here"
        raise InputError(place, problem, f"write {{env: {OURS}NAME}} there, or {{prompt: TEXT}}")
    if not str(value.get(Way.ENV, OURS)).startswith(OURS):
        problem = "a variable of NetBox's choosing, which is not read"
        raise InputError(place, problem, f"choose a name that begins with {OURS}")
