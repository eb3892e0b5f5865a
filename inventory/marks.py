"""The mark of hosts that may be changed: `testbed: true` in a host's data, or the tag `testbed` in NetBox.

Every host may be looked at; nothing of ours is ever put on one that its owner did not mark. Where tasks change a node
(`Shell`, the firewall's and the switch's tasks) the mark is asked for, so that no way leads past it.
"""

from collections.abc import Iterable

from nornir.core.inventory import Host

from vpnmesh.errors import InputError
from vpnmesh.testbed import MARK

TAG_GROUP = f"tag__{MARK}"
"""The group of hosts that have that tag in NetBox."""
WAY_OUT = (
    f"a host that is yours to change has `{MARK}: true` in its data (in NetBox: the tag {MARK});"
    " docs/own-machines.md"
)


class NotMarkedError(InputError):
    """A host that is not marked as part of a testbed was about to be changed; nothing was."""


def is_marked(host: Host) -> bool:
    """Whether the host may be changed; a testbed's name in the defaults, under the same key, marks nobody."""
    return host.get(MARK) is True or host.has_parent_group(TAG_GROUP)


def not_marked(names: Iterable[str]) -> NotMarkedError:
    """What is said of hosts that are not marked."""
    listed = list(names)
    verb = "is" if len(listed) == 1 else "are"
    return NotMarkedError(", ".join(listed), f"{verb} not marked as testbed, and nothing is changed", WAY_OUT)


def refuse_unmarked(hosts: Iterable[Host]) -> None:
    """NotMarkedError names every host that may not be changed."""
    if names := [host.name for host in hosts if not is_marked(host)]:
        raise not_marked(names)
