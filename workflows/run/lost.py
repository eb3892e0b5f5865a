"""A scenario that broke down while it was measured: is it up, may it stand again, is a silent node back."""

from collections.abc import Mapping, Sequence
from functools import partial

import tasks
from vpnmesh.errors import VpnmeshError
from vpnmesh.lab.waiting import wait_until
from vpnmesh.model import NodeKind, Pair
from workflows.run.hosts import HostsFailedError, run_on, stage_of
from workflows.run.impair import Impaired
from workflows.run.measure import Checked, VisitContext, check
from workflows.run.site import Site
from workflows.run.together import together

RETURN_S = 20.0
"""How long a node of the lab that fell silent is waited for: it, or its SSH server, is started anew."""
BOOT_S = 600.0
"""How long a machine is: a server checks its memory and firmware for minutes before it boots."""
_LOOK_EVERY_S = 0.5
NODE = "node"


class LostScenarioError(VpnmeshError):
    """What was set up stands no more; `may_stand_again` says whether all its nodes answer."""

    def __init__(self, stage: str, reason: str, *, may_stand_again: bool) -> None:
        self.stage = stage
        self.may_stand_again = may_stand_again
        super().__init__(reason)


def require_standing(
    context: VisitContext, pairs: Sequence[Pair], impaired: Mapping[Pair, Impaired], failed_at: str
) -> list[Checked]:
    """What the checks of these pairs said; LostScenarioError where one of them fails.

    `failed_at` is the stage at which the last repetition failed. Without an answer where the scenario was set up
    anew before: then what it does not hold is found, and recorded, with every repetition.
    """
    names = _nodes(context.site, pairs)
    if failed_at == NODE:
        _require_answers(context.site, names)
    if context.set_up_anew:
        return []
    try:
        return together([partial(check, context, impaired[pair], pair) for pair in pairs])
    except VpnmeshError as error:
        if stage_of(error, "") == NODE:
            _require_answers(context.site, names)
        raise LostScenarioError(stage_of(error, "task"), str(error), may_stand_again=True) from error


def _nodes(site: Site, pairs: Sequence[Pair]) -> list[str]:
    ends = [end for pair in pairs for end in (pair.client, pair.server)]
    return list(dict.fromkeys([*ends, site.testbed.relay.name]))


def _require_answers(site: Site, names: Sequence[str]) -> None:
    """Wait for nodes that fell silent; LostScenarioError names those that stay so."""

    def silent() -> HostsFailedError | None:
        try:
            run_on(site.nr, names, tasks.run_command, argv=("true",))
        except HostsFailedError as error:
            return error
        return None

    limit_s = _patience(site, names)
    error = wait_until(silent, limit_s, _LOOK_EVERY_S, good=lambda seen: seen is None)
    if error is not None:
        said = "; ".join(str(one) for one in error.errors.values())
        raise LostScenarioError(NODE, f"{said}; not back after {limit_s:.0f} s", may_stand_again=False)


def _patience(site: Site, names: Sequence[str]) -> float:
    machines = any(site.testbed.node(name).kind is not NodeKind.NETNS for name in names)
    return BOOT_S if machines else RETURN_S
