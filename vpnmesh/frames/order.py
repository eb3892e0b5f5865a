"""The order of conditions in every table, pair and figure; that of scenarios is their catalogue's."""

from collections.abc import Iterable

from vpnmesh.errors import InputError
from vpnmesh.model import PAPER_CONDITIONS, Condition

CONDITION_ORDER = tuple(condition.name for condition in PAPER_CONDITIONS)

THROUGHPUT_TESTS = ("tcp", "udp")


def _severity(name: str) -> tuple[bool, tuple[float, ...], str]:
    try:
        return (False, Condition.parse(name).severity, name)
    except InputError:
        return (True, (), name)


def conditions_in_order(found: Iterable[str]) -> tuple[str, ...]:
    """The conditions that were found, the paper's first in its order, then others as `Condition.severity` says."""
    names = set(found)
    known = [name for name in CONDITION_ORDER if name in names]
    return (*known, *sorted(names.difference(CONDITION_ORDER), key=_severity))
