"""A ratio taken apart by baselines given a VPN's stack; what is the machine's is marked; costs have intervals."""

import math
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from vpnmesh.frames.schemas import API, RESULTS, empty
from vpnmesh.model import Path, Scenario
from vpnmesh.report.efficiency import CPU, OWN_CPU
from vpnmesh.report.figures import figures
from vpnmesh.report.origin_section import CPU_BOUND, sections
from vpnmesh.report.page import FigureBlock, Items, Paragraph, TableBlock
from vpnmesh.report.tables import RunTables, Study, build_study
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.scenarios import BUILT_IN, Catalogue

PLAIN, HOST, SINGLE, BOTH = (
    f"native-1230{name}" for name in ("", "-host-cc", "-no-offload", "-host-cc-no-offload")
)
DIRECT, RELAY = "headscale-direct", "headscale-relay"
RATES = {PLAIN: 400.0, HOST: 800.0, SINGLE: 300.0, BOTH: 600.0, DIRECT: 150.0, RELAY: 450.0}
NODES = {name: {"cores": "2", "tcp_congestion": "bbr"} for name in ("worker1", "worker2", "relay")}
TESTBED = {"nodes": [{"name": "relay", "roles": ["relay"], "kind": "netns"}]}
LAB = {
    "kind": "run",
    "nodes": NODES,
    "testbed": TESTBED,
    "lab": {"port_rate_mbit_s": 1000.0},
    "profile": {"congestion": "cubic"},
}


def row(scenario: str, number: int, rate: float, **load: float) -> dict[str, object]:
    """A measured repetition whose nodes took a tenth of a core each, or what `load` says."""
    usual = {f"{end}_cpu_pct": 10.0 for end in ("client", "server", "relay")} | {"machine_cpu_pct": 60.0}
    own = {
        f"{end}_solution_{name}": 0.0
        for end in ("client", "server", "relay")
        for name in ("cpu_pct", "ram_mb")
    }
    return {
        "scenario": scenario, "condition": "none", "test": "tcp", "pair": "worker1>worker2", "repetition": number,
        "outcome": "measured", "rate_mbit_s": rate, "sequence": number, **usual, **own, **load,
    }  # fmt: skip


def study(
    rates: Mapping[str, float],
    count: int = 6,
    provenance: Mapping[str, object] = LAB,
    catalogue: Catalogue = BUILT_IN,
    test: str = "tcp",
    **load: float,
) -> Study:
    """A run in which the scenarios had these rates, a little more with every repetition."""
    rows = [
        {**row(name, n, rate * (1 + n / 1000), **(load if name in (DIRECT, RELAY) else {})), "test": test}
        for name, rate in rates.items()
        for n in range(1, count + 1)
    ]
    samples = pl.DataFrame(rows, schema=RESULTS, orient="row")
    return build_study(samples, empty(API).lazy(), (), provenance, RunTables(), catalogue)


def origin(made: Study, scenario: str) -> dict[str, Any]:
    (found,) = made.tables["origin"].filter(scenario=scenario).to_dicts()
    return found


def close(row: Mapping[str, Any], **wanted: float) -> bool:
    return all(math.isclose(row[name], value, rel_tol=1e-9) for name, value in wanted.items())


# ---- the parts


def test_the_parts_of_a_relay_over_tcp() -> None:
    """Plain to the host's TCP to packets one by one to the VPN: their product is the ratio, each with an interval."""
    found = origin(study(RATES), RELAY)
    assert (found["baseline"], found["tuned"], found["lacking"]) == (PLAIN, BOTH, None)
    assert close(found, ratio=1.125, tcp=2.0, offloads=0.75, tunnel=0.75)
    assert close(found, ratio=found["tcp"] * found["offloads"] * found["tunnel"])
    for name in ("ratio", "tcp", "offloads", "tunnel"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]


def test_a_direct_tunnel_has_no_tcp_of_its_own() -> None:
    """It is set beside the baseline without offloads alone."""
    found = origin(study(RATES), DIRECT)
    assert found["tuned"] == SINGLE
    assert found["tcp"] is None
    assert close(found, ratio=0.375, offloads=0.75, tunnel=0.5)


@pytest.mark.parametrize(
    ("missing", "tuned", "lacking"),
    [((HOST,), PLAIN, HOST), ((BOTH,), HOST, BOTH), ((HOST, BOTH), PLAIN, f"{HOST}, {BOTH}")],
)
def test_a_baseline_that_is_missing_is_named(missing: tuple[str, ...], tuned: str, lacking: str) -> None:
    """Its part stays in the tunnel's, nothing is guessed, and the page says what to add."""
    made = study({name: rate for name, rate in RATES.items() if name not in missing})
    found = origin(made, RELAY)
    assert (found["tuned"], found["lacking"]) == (tuned, lacking)
    assert close(found, tunnel=RATES[RELAY] / RATES[tuned])
    (section,) = sections(made, {})
    (warning,) = [
        block.text for block in section.blocks if isinstance(block, Paragraph) and block.kind == "warning"
    ]
    assert all(name in warning for name in missing)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_figures_have_no_interval_and_no_sentence(count: int) -> None:
    """Below six figures there are ratios alone, and no words made of them."""
    made = study(RATES, count)
    found = origin(made, RELAY)
    assert [
        name for name, value in found.items() if name.endswith(("_low", "_high")) and value is not None
    ] == []
    (section,) = sections(made, {})
    assert "In words" not in [block.title for block in section.blocks if isinstance(block, Items)]


@pytest.mark.parametrize(("own", "asked"), [("cubic", "cubic"), ("bbr", "")])
def test_a_host_that_asks_for_the_same_tuning_has_no_part(own: str, asked: str) -> None:
    """Where pods ask for the nodes' default, or for none, a relay's TCP is no other: only offloads are taken apart."""
    nodes = {name: {**node, "tcp_congestion": own} for name, node in NODES.items()}
    found = origin(study(RATES, provenance={**LAB, "nodes": nodes, "profile": {"congestion": asked}}), RELAY)
    assert (found["tuned"], found["tcp"], found["lacking"]) == (SINGLE, None, None)


def test_udp_has_no_parts() -> None:
    """A congestion control is TCP's; pods' datagrams are single anyway."""
    found = origin(study(RATES, test="udp"), RELAY)
    assert (found["tuned"], found["tcp"], found["offloads"]) == (PLAIN, None, None)


def test_a_scenario_of_another_mtu_is_set_beside_its_own_baseline() -> None:
    """`headscale-direct-mtu-1500` has pods of 1450 bytes; a tuned baseline of that MTU is told in words."""
    found = origin(
        study({"native-1450": 800.0, "headscale-direct-mtu-1500": 200.0}), "headscale-direct-mtu-1500"
    )
    assert found["baseline"] == "native-1450"
    assert found["lacking"] == "a baseline of MTU 1450 with no offloads"


def test_a_solution_that_is_gone_has_no_row() -> None:
    """A run of a package that is not installed here is read all the same."""
    gone = Scenario("gone-direct", "gone", Path.DIRECT, 1230, 1280, "allow-all")
    made = study({**RATES, "gone-direct": 100.0}, catalogue=Catalogue((*BUILT_IN.scenarios, gone)))
    assert "gone-direct" not in set(made.tables["origin"]["scenario"])


def test_baselines_have_no_rows() -> None:
    """What is compared with is not taken apart."""
    assert set(study(RATES).tables["origin"]["scenario"]) == {DIRECT, RELAY}


@pytest.mark.parametrize(("rate", "said"), [(880.0, False), (910.0, True)])
def test_a_baseline_that_fills_the_ports_is_said(rate: float, *, said: bool) -> None:
    """A lab's ports carry 1000 Mbit/s, of which pods' TCP of 1230 bytes gets 910.4 at most: measured, 910.4."""
    assert bool(origin(study({**RATES, PLAIN: rate}), RELAY)["note"]) == said


# ---- the machine's


def marks(made: Study) -> set[str]:
    return {name for name, said in made.tables["origin"].select("scenario", "cpu_bound").rows() if said}


def test_a_full_machine_is_marked() -> None:
    """From 95 % of a lab's cores on; how much of it the measured nodes took is said beside it."""
    assert marks(study(RATES, machine_cpu_pct=189.0)) == set()
    made = study(RATES, machine_cpu_pct=190.0)
    assert marks(made) == {DIRECT, RELAY}
    assert origin(made, RELAY)["cpu_bound"] == "the machine at 190 of 200 %, 30 % by client, server and relay"
    (section,) = sections(made, {})
    (table,) = [block for block in section.blocks if isinstance(block, TableBlock) and block.name == "origin"]
    assert all(CPU_BOUND in row[-1].text for row in table.rows)
    (costs,) = [
        block for block in section.blocks if isinstance(block, TableBlock) and block.name == "efficiency"
    ]
    assert [row[2].text for row in costs.rows if CPU_BOUND in row[-1].text] == [DIRECT, RELAY]


def test_full_processes_are_marked() -> None:
    """A VPN's processes from 90 % of a node's cores on."""
    assert marks(study(RATES, server_solution_cpu_pct=179.0)) == set()
    assert marks(study(RATES, server_solution_cpu_pct=181.0)) == {DIRECT, RELAY}


def test_processes_that_use_one_core_are_full_with_one() -> None:
    """ZeroTier's uses one core unless told otherwise: 90 % of that are enough on a node with two."""
    rows = [
        row(name, n, 100.0 + n, client_solution_cpu_pct=91.0)
        for name in (PLAIN, "zerotier-direct")
        for n in (1, 2)
    ]
    samples = pl.DataFrame(rows, schema=RESULTS, orient="row")
    made = build_study(samples, empty(API).lazy(), (), LAB, RunTables())
    assert marks(made) == {"zerotier-direct"}


def test_on_machines_of_their_own_a_full_node_is_marked() -> None:
    """Each node has its own cores; the machine's reading is then one of three and says nothing."""
    hosts = {name: value for name, value in LAB.items() if name != "lab"}
    assert marks(study(RATES, provenance=hosts, machine_cpu_pct=200.0)) == set()
    assert marks(study(RATES, provenance=hosts, server_cpu_pct=192.0)) == {DIRECT, RELAY}


def test_nothing_is_marked_where_nobody_counted_cores() -> None:
    """An old run has no cores in its manifest."""
    assert marks(study(RATES, provenance={"kind": "run", "lab": {}}, machine_cpu_pct=800.0)) == set()


# ---- what it costs


def test_cpu_seconds_per_gbit_and_memory() -> None:
    """Three nodes with 60, 50 and 10 % of a core at 500 Mbit/s: 2.4 s per Gbit; the VPN's own are 2 of these."""
    loads = {
        "client_cpu_pct": 60.0, "server_cpu_pct": 50.0, "relay_cpu_pct": 10.0,
        "client_solution_cpu_pct": 50.0, "server_solution_cpu_pct": 45.0, "relay_solution_cpu_pct": 5.0,
        "client_solution_ram_mb": 70.0, "server_solution_ram_mb": 60.0,
    }  # fmt: skip
    samples = pl.DataFrame(
        [row(DIRECT, n, 500.0, **loads) for n in range(1, 7)], schema=RESULTS, orient="row"
    )
    found = {
        one["figure"]: one
        for one in build_study(samples, empty(API).lazy(), (), LAB, RunTables())
        .tables["efficiency"]
        .to_dicts()
    }
    assert close(found[CPU], mean=2.4, low=2.4, high=2.4)
    assert close(found[OWN_CPU], mean=2.0)
    assert {name: one["mean"] for name, one in found.items() if name.endswith("_mb")} == {
        "client_solution_ram_mb": 70.0,
        "server_solution_ram_mb": 60.0,
    }


@pytest.mark.parametrize(("count", "shown"), [(5, False), (6, True)])
def test_an_interval_of_a_cost_needs_six_figures(count: int, *, shown: bool) -> None:
    """Below that the lowest and the highest stand alone."""
    table = study(RATES, count).tables["efficiency"]
    assert table.height == len(RATES)
    assert {(low is not None, high is not None) for low, high in table.select("low", "high").rows()} == {
        (shown, shown)
    }
    assert all(least < greatest for least, greatest in table.select("least", "greatest").rows())


def test_a_load_that_was_not_read_is_no_cost() -> None:
    """A node without a reading leaves the sum unknown, not smaller; nothing is divided by a rate of nothing."""
    rows = [{**row(DIRECT, n, 500.0), "relay_cpu_pct": None} for n in range(1, 7)]
    rows += [{**row(RELAY, n, 0.0), "outcome": "failed"} for n in range(1, 7)]
    samples = pl.DataFrame(rows, schema=RESULTS, orient="row")
    assert build_study(samples, empty(API).lazy(), (), LAB, RunTables()).tables["efficiency"].is_empty()


@pytest.mark.slow
def test_parts_and_costs_are_drawn() -> None:
    """A figure of the parts and one of the costs, with the scenarios' names; the page shows them with captions."""
    made = study(RATES, client_solution_cpu_pct=5.0)
    drawn = figures(made)
    assert all("headscale-relay" in drawn[name] for name in ("origin-tcp", "efficiency-tcp"))
    (section,) = sections(made, drawn)
    shown = [block.name for block in section.blocks if isinstance(block, FigureBlock)]
    assert shown == ["origin-tcp", "efficiency-tcp"]
    assert "origin-tcp" not in figures(study({PLAIN: 400.0, RELAY: 450.0}))


def test_results_of_others_have_no_section() -> None:
    """The paper's files have neither nodes nor tuned baselines, and CPU in another unit."""
    samples = pl.DataFrame([row(DIRECT, n, 500.0) for n in range(1, 7)], schema=RESULTS, orient="row")
    assert sections(build_study(samples, empty(API).lazy()), {}) == []


# ---- what solutions say


def test_every_step_of_a_stack_has_a_baseline_that_ships() -> None:
    """For pods of 1230 bytes, which all VPN scenarios of the paper have."""
    native = [
        (one, SOLUTIONS[one.solution].tuning(one)) for one in BUILT_IN.scenarios if one.tunnel_mtu is None
    ]
    wanted = [
        tuning
        for one in BUILT_IN.scenarios
        if one.tunnel_mtu and one.pod_mtu == 1230
        for _, tuning in SOLUTIONS[one.solution].stack(one).tunings()
    ]
    assert wanted
    assert [
        one for one in wanted if one not in [tuning for base, tuning in native if base.pod_mtu == 1230]
    ] == []


def test_relays_over_tcp_are_those_whose_policy_lets_no_udp_through() -> None:
    """What a module says of its TCP fits the firewall policy of its scenarios."""
    own = {one.name for one in BUILT_IN.scenarios if SOLUTIONS[one.solution].stack(one).own_tcp}
    blocked = {one.name for one in BUILT_IN.scenarios if one.policy == "block-udp"}
    assert blocked <= own
    assert own - blocked == {"netbird-relay-ws"}
