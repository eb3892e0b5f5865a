"""What a reader of a plan has to know beside its cells: what a budget did, and what the order cannot tell."""

from collections import Counter

from vpnmesh.cluster import PODS
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.study.matrix import SWITCH_S, MatrixPlan, switch_s

VISITED_ONCE = (
    "each scenario was visited once, so differences between scenarios are confounded with time (drift of the machine);"
    " --blocks 2 with 2 repetitions or more visits each twice"
)
"""What a reader must know of a run whose scenarios were measured at one time each."""


def confounded(plan: MatrixPlan) -> str:
    """That scenario and time will not be told apart by this plan, as a sentence; "" where they will.

    A scenario of one visit is measured at one time: drift of the machine is then a difference between scenarios.
    """
    visits = Counter(visit.scenario for visit in plan.visits)
    alone = len(visits) > 1 and min(visits.values()) == 1
    return VISITED_ONCE.replace("was visited", "is visited") if alone else ""


def remarks(plan: MatrixPlan) -> list[str]:
    """What a reader of the plan has to know beside the cells: what a budget did, and what the order cannot tell."""
    budget = plan.profile.budget_min
    if plan.profile.adaptive:
        return [*_adaptive_remarks(plan), *_cluster_remarks(plan)]
    said = [f"left out to stay in {budget:g} minutes: {name}" for name in plan.dropped]
    said += _on_top(plan)
    if budget is not None and plan.judged_s > 60 * budget:
        said.append(
            f"estimated {plan.judged_s / 60:.1f} minutes are more than the budget of {budget:g}; "
            "nothing that was asked for is left out"
        )
    if sentence := confounded(plan):
        said.append(sentence)
    return [*said, *_cluster_remarks(plan)]


def _cluster_remarks(plan: MatrixPlan) -> list[str]:
    """What pods are, where a cluster makes them, and what that costs."""
    profile = plan.profile
    if profile.cluster == PODS:
        return []
    longer_s = switch_s(profile.cluster) - SWITCH_S
    what = (
        f"every visit puts a cluster ({profile.cluster}) over the scenario's addresses and takes it off again"
    )
    return [f"{what}, some {longer_s:.0f} s more; what is measured are its pods"]


def _adaptive_remarks(plan: MatrixPlan) -> list[str]:
    """How an adaptive run goes on after the rounds of the plan, and what a budget means for it."""
    profile = plan.profile
    until = f"until {profile.budget_min:g} minutes are over" if profile.budget_min else "without a budget"
    open_pairs = (
        f"pairs that are not decided yet (equal means within {profile.margin_pct:g} %)"
        if profile.precision_pct is None
        else f"pairs whose ratio is not known to {profile.precision_pct:g} % yet"
    )
    how = f"adaptive: every scenario is visited {profile.blocks} times; then only for {open_pairs}, {until}"
    said = [how]
    said += _on_top(plan)
    if profile.budget_min is not None and plan.judged_s > 60 * profile.budget_min:
        said.append(
            f"the first {profile.blocks} rounds alone are estimated at {plan.judged_s / 60:.1f} minutes, more than the"
            f" budget of {profile.budget_min:g}: the run ends with the budget, and says what is open"
        )
    return said


def _on_top(plan: MatrixPlan) -> list[str]:
    """What the tests cost that a budget does not count; nothing where there is no budget."""
    tests = dict.fromkeys(one.cell.test for one in plan.cells if one.cell.test not in THROUGHPUT_TESTS)
    if plan.profile.budget_min is None or not tests:
        return []
    minutes = f"{plan.beside_s / 60:.1f} minutes on top of the {plan.profile.budget_min:g}"
    return [f"{', '.join(tests)}: about {minutes}, which are for throughput"]
