"""Host keys are strict: an inventory that says nothing of them gets it so, one that says otherwise is refused.

netmiko, whose words the inventory has, takes any key in silence unless it is told not to.
"""

from collections.abc import Iterator, Mapping

from nornir.core.inventory import ConnectionOptions, Inventory

from vpnmesh.errors import InputError

LOGIN = "netmiko"
"""The connection whose options are those of the login."""
STRICT = "ssh_strict"
_FILES = ("system_host_keys", "alt_host_keys")
_WAY_OUT = "leave it out, and put the node's key into known_hosts once you have checked it"


def make_strict(inventory: Inventory, place: str) -> None:
    """Have every login of the inventory take known keys only; InputError names who wants to take any.

    Known is what ~/.ssh/known_hosts has, unless the inventory names another file.
    """
    defaults = inventory.defaults.connection_options
    defaults.setdefault(LOGIN, ConnectionOptions())
    if defaults[LOGIN].extras is None:
        defaults[LOGIN].extras = {}
    for name, options in _all_options(inventory):
        if options.extras is not None:
            options.extras = _strict(options.extras, f"{place}: {name}")


def _all_options(inventory: Inventory) -> Iterator[tuple[str, ConnectionOptions]]:
    every = {"defaults": inventory.defaults.connection_options}
    every |= {name: group.connection_options for name, group in inventory.groups.items()}
    for name, options in (
        *every.items(),
        *((host.name, host.connection_options) for host in inventory.hosts.values()),
    ):
        if LOGIN in options:
            yield name, options[LOGIN]


def _strict(extras: Mapping[str, object], place: str) -> dict[str, object]:
    if not extras.get(STRICT, True):
        raise InputError(
            f"{place}: connection_options: {LOGIN}: {STRICT}", "false: any host key would be taken", _WAY_OUT
        )
    known = {} if any(extras.get(key) for key in _FILES) else {_FILES[0]: True}
    return {**extras, **known, STRICT: True}
