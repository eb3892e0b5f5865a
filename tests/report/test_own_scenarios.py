"""What a study's own catalogue says of its scenarios decides advice: solution, path, tunnel and policy, not names."""

from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from tests.report.conftest import made
from vpnmesh.criteria import data as criteria
from vpnmesh.report.judgement.advice import Advice, advise
from vpnmesh.report.judgement.evidence import ConditionKind, Readings, condition_kind
from vpnmesh.report.judgement.requirements import NEEDS
from vpnmesh.report.judgement.scenario_kinds import has_tunnel, is_tcp_relay
from vpnmesh.report.judgement.usability import fallbacks
from vpnmesh.report.tables import Study, build_study
from vpnmesh.study.scenarios import BUILT_IN

ON = date(2023, 6, 17)
OWN = b"""
bare: {solution: native, path: direct, pod_mtu: 1400, policy: allow-all}
near: {solution: zerotier, path: direct, pod_mtu: 1230, tunnel_mtu: 1280, policy: allow-all}
far: {variant_of: headscale-relay, policy: tcp-443-only}
open-relay: {variant_of: netbird-relay, tunnel_mtu: 1300}
headscale-small: {variant_of: headscale-direct, tunnel_mtu: 1280, pod_mtu: 1200}
"""
CATALOGUE = BUILT_IN.with_file(OWN, "own.yaml")


def renamed(names: dict[str, str]) -> Study:
    """The invented study with its scenarios called as in the catalogue above, the others left out."""
    samples = made().samples.filter(pl.col("scenario").is_in(list(names)))
    samples = samples.with_columns(pl.col("scenario").replace(names))
    return build_study(samples, made().api.limit(0), catalogue=CATALOGUE)


def advice(study: Study) -> Advice:
    return advise(Readings(study), criteria.load(), NEEDS, ON)


def ranks(found: Advice, need: str) -> list[tuple[int, str]]:
    one = found.need(need)
    assert one is not None
    return [(place.rank, place.solution) for place in one.ranking]


@pytest.mark.parametrize(
    ("name", "tunnel"),
    [
        ("native-1450", False),
        ("netbird-relay-tcp", True),
        ("bare", False),
        ("near", True),
        # nobody declared these: what never has a tunnel has none under another name either
        ("native-9000", False),
        ("native", False),
        ("natively-direct", True),
        ("other-direct", True),
        ("netbird-9000", True),
    ],
)
def test_who_has_a_tunnel(name: str, tunnel: bool) -> None:  # noqa: FBT001 - a row of a table
    """A declared scenario says so itself; of others the solution at the front of the name does."""
    assert has_tunnel(CATALOGUE, name) is tunnel


def test_relays_over_tcp_are_those_that_no_udp_reaches() -> None:
    """By the policy's blocks, whatever its name: also where TCP 443 alone is left; not where the relay gets UDP."""
    found = [name for name in (*CATALOGUE.names, "mine-relay") if is_tcp_relay(CATALOGUE, name)]
    paper, beyond = ("headscale-relay", "zerotier-relay"), ("netbird-relay-tcp", "headscale-relay-2023")
    assert found == [*paper, *beyond, "zerotier-relay-unforced", "far"]


def test_scenarios_of_ones_own_are_ranked_by_their_solution() -> None:
    """A baseline with any name is in no ranking, a VPN with any name is, and a relay over TCP is found by policy."""
    names = {
        "native-1450": "bare",
        "headscale-direct": "near",
        "headscale-relay": "far",
        "netbird-direct": "netbird-direct",
        "zerotier-relay": "zerotier-relay",
    }
    found = advice(renamed(names))
    assert ranks(found, "stable") == [(1, "zerotier"), (2, "headscale"), (3, "netbird")]
    assert ranks(found, "udp-blocked") == [(1, "headscale"), (2, "zerotier")]
    assert "native" not in [name for _, name in ranks(found, "low-cpu")]


def test_a_baseline_that_nobody_declared_is_no_vpn() -> None:
    """The fastest of all, native at another MTU, comes first in no ranking and is not named."""
    names = {
        "native-1450": "native-9000",
        "headscale-direct": "headscale-direct",
        "netbird-direct": "netbird-direct",
    }
    need = advice(renamed(names)).need("stable")
    assert need is not None
    assert [place.solution for place in need.ranking] == ["headscale", "netbird"]
    assert not any("native" in sentence.text for sentence in need.sentences)


def test_a_variant_counts_once_for_its_solution() -> None:
    """Two direct scenarios of one solution are one place in the ranking by CPU, at the one that needs less."""
    names = {
        "headscale-direct": "headscale-direct",
        "headscale-relay": "headscale-small",
        "netbird-direct": "netbird-direct",
    }
    with_variant = advice(renamed(names)).need("low-cpu")
    alone = advice(renamed({name: name for name in ("headscale-direct", "netbird-direct")})).need("low-cpu")
    assert with_variant is not None
    assert alone is not None
    assert with_variant.ranking == alone.ranking
    assert (alone.ranking[0].rank, alone.ranking[0].score) == (1, 1.0)


def test_variants_of_one_solution_are_no_comparison_of_cpu() -> None:
    """Who alone was measured needs the least of nobody."""
    need = advice(
        renamed({"headscale-direct": "headscale-direct", "headscale-relay": "headscale-small"})
    ).need("low-cpu")
    assert need is not None
    assert need.ranking == ()
    assert "Undecided" in need.sentences[0].text


def test_a_fallback_is_told_of_each_scenario_and_decided_by_the_first() -> None:
    """A variant that fell back at once does not make its solution fast where the scenario itself was slow."""
    study = renamed({"headscale-direct": "headscale-direct", "headscale-relay": "headscale-small"})
    figure = {"figure": "to_relay_s", "attempted": 3, "measured": 3, "n": 3, "seconds_sd": 1.0}
    rows = [
        {"scenario": name, "seconds_mean": seconds, **figure}
        for name, seconds in (("headscale-direct", 200.0), ("headscale-small", 2.0))
    ]
    study = replace(study, tables={**study.tables, "convergence": pl.DataFrame(rows)})
    assert [(one.solution, one.scenario, one.fast) for one in fallbacks(study)] == [
        ("headscale", "headscale-direct", False),
        ("headscale", "headscale-small", True),
    ]
    found = advice(study)
    assert "headscale" not in [name for _, name in ranks(found, "fast-fallback")]
    told = [note.evidence.row["scenario"] for note in found.usability if note.topic == "fallback"]
    assert told == ["headscale-direct", "headscale-small"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("none", ConditionKind.NONE),
        ("loss-5pct", ConditionKind.LOSS),
        ("delay-50ms", ConditionKind.DELAY),
        ("delay-50ms+loss-1pct", ConditionKind.BOTH),
        ("delay-0ms+loss-1pct", ConditionKind.LOSS),
        ("loss-some", None),
        ("delay", None),
    ],
)
def test_what_a_condition_impairs(name: str, kind: ConditionKind | None) -> None:
    """By its figures: both at once is neither a pure delay nor a pure loss; what is no condition has no kind."""
    assert condition_kind(name) is kind


def test_delay_and_loss_at_once_answer_no_need_of_one() -> None:
    """A cell with both is in the study and decides neither the need under delay nor that under loss."""
    samples = made().samples.with_columns(
        pl.col("condition").replace({"delay-250ms": "delay-50ms+loss-1pct"})
    )
    readings = Readings(build_study(samples, made().api.limit(0)))
    assert readings.cell("tcp", "delay-50ms+loss-1pct", "headscale-direct") is not None
    assert readings.conditions("tcp", ConditionKind.DELAY) == ("delay-50ms",)
    assert readings.conditions("tcp", ConditionKind.LOSS) == ("loss-1pct", "loss-5pct")
    assert readings.conditions("tcp", ConditionKind.BOTH) == ("delay-50ms+loss-1pct",)
    assert readings.conditions("tcp", ConditionKind.DELAY, ConditionKind.NONE) == ("delay-50ms", "none")
    for need in advise(readings, criteria.load(), NEEDS, ON).needs:
        if need.need in ("delay", "loss-tcp", "loss-udp", "low-cpu"):
            cited = [one.row.get("condition") for sentence in need.sentences for one in sentence.evidence]
            assert cited
            assert "delay-50ms+loss-1pct" not in cited
