"""What sequential stopping would have cost: recorded repetitions replayed, printed and written as tables."""

from pathlib import Path

from vpnmesh.errors import InputError
from vpnmesh.frames.aggregate import cell_samples
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.report.replay import Replay, replay
from vpnmesh.report.tables import Study
from workflows.reporting.presenting import write_tables
from workflows.run.terminal import say

REPETITION_S = 60.0
"""What one repetition of the paper measures for (section 3.3)."""


def replay_study(study: Study, out: Path, orders: int, seed: int) -> None:
    """Replay the undisturbed repetitions of each test; writes tables `replay-tcp`, `replay-udp` and their summaries.

    InputError where no two scenarios have undisturbed repetitions.
    """
    cells = cell_samples(study.samples, study.scenarios)
    done = 0
    for test in THROUGHPUT_TESTS:
        samples = {c.scenario: c.rates for c in cells.values() if (c.condition, c.test) == ("none", test)}
        if len(samples) < 2:  # noqa: PLR2004 - a pair
            continue
        result = replay(samples, orders=orders, seed=seed, seconds=REPETITION_S)
        write_tables({f"replay-{test}": result.pairs, f"replay-{test}-summary": result.summary()}, out)
        say(_told(test, result))
        done += 1
    if not done:
        raise InputError("--replay", "no two scenarios have undisturbed repetitions")


def _told(test: str, result: Replay) -> str:
    orders, verdicts = result.wrong_orders, result.wrong_verdicts
    hard = result.pairs.sort("seconds", descending=True).head(2).select("a", "b", "seconds").rows()
    where = "; ".join(f"{a} and {b} {seconds:.0f} s" for a, b, seconds in hard)
    return (
        f"{test}: {result.orders} orders: {result.share_mean:.1%} of the measuring seconds"
        f" (median {result.share_median:.1%}, 90 % of orders below {result.share_p90:.1%});"
        f" a wrong verdict in {orders.estimate:.2%} of orders"
        f" (95 % interval {orders.low:.2%} to {orders.high:.2%}),"
        f" {verdicts.estimate:.3%} of verdicts; {result.undecided_verdicts} left open; dearest pairs: {where}"
    )
