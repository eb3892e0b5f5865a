"""What no figure may rest on: pods that hear nothing, a link that changed meanwhile, answers that came twice."""

from types import SimpleNamespace
from typing import Any

import pytest

from vpnmesh.errors import CheckError, ToolError
from vpnmesh.model import Condition, Testbed
from vpnmesh.tools import ping
from vpnmesh.tools.ping import PingSummary, Rtt
from workflows.run import measure
from workflows.run.measure import Checked, answers_expected, check_links
from workflows.run.site import Site

HEARD, SILENT = PingSummary(5, 5, Rtt(1, 1, 1, 0)), PingSummary(5, 0, None)


def require(bed: Testbed, condition: Condition, heard: PingSummary, again: PingSummary) -> int:
    """Judge these pings; how often it was asked again."""
    asked = []

    def run_on(_nr: Any, names: list[str], *_: Any, **parameters: Any) -> dict[str, Any]:
        asked.append(parameters["count"])
        return {name: SimpleNamespace(result=again) for name in names}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "run_on", run_on)
        measure._require_answer(Site(None, bed), condition, bed.pairs[0], heard)  # type: ignore[arg-type]
    return len(asked)


def test_pods_that_answer_are_asked_once(bed: Testbed) -> None:
    """Nothing more is sent where something came back."""
    assert require(bed, Condition(), HEARD, SILENT) == 0


def test_five_lost_pings_may_be_chance(bed: Testbed) -> None:
    """Thirty more decide."""
    assert require(bed, Condition(loss_pct=10), SILENT, HEARD) == 1
    with pytest.raises(CheckError, match="worker2's pod answers none of 35 pings of worker1's") as caught:
        require(bed, Condition(loss_pct=10), SILENT, PingSummary(30, 0, None))
    assert caught.value.stage == "path"


@pytest.mark.parametrize(
    ("loss_pct", "expected"), [(0, True), (10, True), (35, True), (50, False), (99, False)]
)
def test_where_nearly_all_is_lost_silence_says_nothing(loss_pct: float, expected: bool) -> None:  # noqa: FBT001
    """An answer is expected where thirty lost pings happen less than once in a million times."""
    assert answers_expected(Condition(loss_pct=loss_pct)) is expected


def test_a_burst_may_take_all_pings() -> None:
    """Thirty pings in a row may all fall into one burst, on either way; short bursts leave an answer."""
    assert not answers_expected(Condition.parse("burst-loss-2pct-8packets"))
    assert not answers_expected(Condition.parse("back-burst-loss-2pct-8packets"))
    assert answers_expected(Condition.parse("burst-loss-1pct-1.2packets"))
    assert not answers_expected(Condition.parse("loss-1pct+back-loss-99pct"))


def test_a_link_that_changed_is_named() -> None:
    """Whichever of the two nodes it was; a count that stayed, or that no node can tell, says nothing."""
    before = Checked(HEARD, {"worker1": 2, "worker2": 4})
    check_links(before, Checked(HEARD, {"worker1": 2, "worker2": 4}))
    check_links(Checked(HEARD, {"worker1": None}), Checked(HEARD, {"worker1": None}))
    with pytest.raises(CheckError, match="worker2: the link of its underlay interface"):
        check_links(before, Checked(HEARD, {"worker1": 2, "worker2": 6}))


def test_answers_that_came_twice_are_refused() -> None:
    """ping counts them into its mean."""
    text = """--- 10.0.0.1 ping statistics ---
5 packets transmitted, 5 received, +2 duplicates, 0% packet loss, time 803ms
rtt min/avg/max/mdev = 0.031/0.052/0.071/0.014 ms
"""
    with pytest.raises(ToolError, match="2 answers came twice"):
        ping.parse(text)
    assert ping.parse(text.replace(" +2 duplicates,", "")).received == 5
