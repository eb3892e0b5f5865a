"""The order of scenarios and conditions in every table, pair and figure: native-1450 comes first."""

from collections.abc import Iterable

from vpnmesh.errors import InputError
from vpnmesh.model import PAPER_CONDITIONS, Condition
from vpnmesh.study.scenarios import SCENARIO_ORDER

BASELINES = ("native-1450", "native-1230")
"""The scenarios without a VPN, which every ratio of Tables A1 and A2 refers to."""

CONDITION_ORDER = tuple(condition.name for condition in PAPER_CONDITIONS)

THROUGHPUT_TESTS = ("tcp", "udp")


def scenarios_in_order(found: Iterable[str]) -> tuple[str, ...]:
    """The scenarios that were found, the known ones first in their order, others after them by name."""
    names = set(found)
    known = [name for name in SCENARIO_ORDER if name in names]
    return (*known, *sorted(names.difference(SCENARIO_ORDER)))


def _severity(name: str) -> tuple[bool, float, float, str]:
    try:
        condition = Condition.parse(name)
    except InputError:
        return (True, 0.0, 0.0, name)
    return (False, condition.delay_ms, condition.loss_pct, name)


def conditions_in_order(found: Iterable[str]) -> tuple[str, ...]:
    """The conditions that were found, the paper's first in its order, then others by delay and loss."""
    names = set(found)
    known = [name for name in CONDITION_ORDER if name in names]
    return (*known, *sorted(names.difference(CONDITION_ORDER), key=_severity))
