"""Each quirk of pfSense that the stand-in has: a naive way that it breaks, and our driver that it does not.

The naive ways are those that a first attempt takes: they make the same calls through the same connection.
"""

import ast
from pathlib import Path

import pytest

from tasks.firewall.pfsense_api import CutError
from tasks.firewall.policy import take_back
from tests.firewall.appliance import RELAY, RUN, WORKER1, WORKER2, Bench
from tests.pfsense_server.server import LOCKED_OUT_AFTER, Fault
from vpnmesh.errors import CheckError
from vpnmesh.firewall.pfsense_rest import (
    ALIAS,
    ALIASES,
    APPLY,
    RULE,
    RULES,
    SCHEDULES,
    STATES,
    Json,
    Request,
    entries,
)

BLOCK: dict[str, object] = {
    "type": "block",
    "interface": ["vlan20"],
    "ipprotocol": "inet46",
    "protocol": "udp",
    "source": "any",
    "destination": "vlan30",
    "descr": "naive block",
    "floating": True,
    "quick": True,
    "direction": "in",
}
FOREIGN = 6
"""How many rules the stand-in has before anybody comes: one floating, one per VLAN."""


def naive(pf: Bench, method: str, path: str, body: Json | None = None, **query: str) -> object:
    """One call, made and believed."""
    return pf.driver().api.send(Request(method, path, tuple(query.items()), body)).data


def foreign_rules(pf: Bench) -> list[str]:
    """The descriptions of the rules that are not ours."""
    found = (rule["descr"] for rule in pf.appliance.config.sections["rules"])
    return [descr for descr in found if descr.startswith("theirs")]


def test_ids_shift_with_every_deletion(pf: Bench) -> None:
    """Deleting by remembered ids, lowest first, takes a foreign rule away; deleting by description does not."""
    for _ in range(2):
        naive(pf, "POST", RULE, BLOCK)
    naive(pf, "POST", RULE, {**BLOCK, "descr": "theirs: last"})
    for place in (FOREIGN, FOREIGN + 1):
        naive(pf, "DELETE", RULE, id=str(place))
    assert "theirs: last" not in foreign_rules(pf)

    naive(pf, "POST", RULE, {**BLOCK, "descr": "theirs: last"})
    naive(pf, "POST", APPLY, {"async": False})
    pf.change("block-udp")
    pf.change("allow-all")
    assert "theirs: last" in foreign_rules(pf)


def test_two_rules_of_one_second_share_their_tracker(pf: Bench) -> None:
    """A tracker is no key: whoever deletes by it deletes both; ours are keyed by description and all different."""
    pf.appliance.config.clock = lambda: 1_800_000_000.0
    naive(pf, "POST", RULE, BLOCK)
    naive(pf, "POST", RULE, {**BLOCK, "descr": "theirs: same second"})
    tracker = str(pf.appliance.config.sections["rules"][-1]["tracker"])
    naive(pf, "DELETE", RULES, tracker=tracker)
    assert "theirs: same second" not in foreign_rules(pf)

    naive(pf, "POST", APPLY, {"async": False})
    pf.change("block-udp")
    ours = [
        rule["descr"] for rule in pf.appliance.config.sections["rules"] if rule["descr"].startswith("vpnmesh")
    ]
    assert len(ours) == len(set(ours)) == 5


def test_a_rule_does_nothing_until_it_is_applied(pf: Bench) -> None:
    """A rule that was accepted still blocks nothing; after our change it does."""
    naive(pf, "POST", RULE, BLOCK)
    assert pf.udp(WORKER1, WORKER2)
    naive(pf, "DELETE", RULES, descr="naive block")
    naive(pf, "POST", APPLY, {"async": False})
    pf.change("block-udp")
    assert not pf.udp(WORKER1, WORKER2)


def test_apply_answers_before_it_is_done_unless_told_not_to(pf: Bench) -> None:
    """Asked in the default way, apply returns while the old rules still count; our driver waits for a slow one."""
    pf.appliance.apply_s = 0.4
    naive(pf, "POST", RULE, BLOCK)
    naive(pf, "POST", APPLY, {})
    assert pf.kernel.send("udp", WORKER1, WORKER2, 99)
    naive(pf, "DELETE", RULES, descr="naive block")
    naive(pf, "POST", APPLY, {"async": False})
    pf.change("block-udp")
    assert not pf.kernel.send("udp", WORKER1, WORKER2, 98)


def test_states_survive_a_new_block(pf: Bench) -> None:
    """An old flow goes on past a loaded block; after our change it does not."""
    assert pf.udp(WORKER1, WORKER2)
    naive(pf, "POST", RULE, BLOCK)
    naive(pf, "POST", APPLY, {"async": False})
    assert pf.udp(WORKER1, WORKER2)
    naive(pf, "DELETE", RULES, descr="naive block")
    naive(pf, "POST", APPLY, {"async": False})
    pf.change("block-udp")
    assert not pf.udp(WORKER1, WORKER2)


def test_only_a_hundred_states_are_deleted_unless_told_otherwise(pf: Bench) -> None:
    """The default limit leaves state 101 alive; ours has no limit."""
    for port in range(1, 151):
        pf.kernel.send("udp", WORKER1, WORKER2, port)
        pf.kernel.send("udp", WORKER1, RELAY, port)
    listed = naive(pf, "GET", STATES, protocol="udp")
    assert isinstance(listed, list)
    assert len(listed) == 100
    pf.change("block-udp")
    assert [one for one in pf.kernel.states if one.protocol == "udp"] == []


def test_an_address_is_the_beginning_of_another(pf: Bench) -> None:
    """`192.88.99.2` begins `192.88.99.26` too: ending states by it ends the relay's; ours asks with the colon."""
    pf.kernel.send("udp", RELAY, "203.0.113.1")
    naive(pf, "DELETE", STATES, source__startswith="192.88.99.2", limit="0")
    assert pf.kernel.states == []
    pf.kernel.send("udp", RELAY, "203.0.113.1")
    pf.change("block-udp-k8s")
    assert len(pf.kernel.states) == 1


def test_a_rule_whose_alias_is_gone_stays_and_is_not_loaded(pf: Bench) -> None:
    """Taking an alias away before its rule leaves a rule that counts for nothing, with no word from the API."""
    naive(pf, "POST", ALIAS, {"name": "peers", "type": "host", "address": [WORKER2], "descr": "naive"})
    naive(pf, "POST", RULE, {**BLOCK, "destination": "peers"})
    naive(pf, "DELETE", ALIASES, descr="naive")
    naive(pf, "POST", APPLY, {"async": False})
    assert "naive block" in [entry.descr for entry in entries(naive(pf, "GET", RULES))]
    assert pf.udp(WORKER1, WORKER2)
    naive(pf, "DELETE", RULES, descr="naive block")
    naive(pf, "POST", APPLY, {"async": False})
    pf.change("block-udp-k8s")
    assert not pf.udp(WORKER1, WORKER2)


def test_ipv4_alone_leaves_ipv6_open(pf: Bench) -> None:
    """A block for `inet` does not stop IPv6 between the same VLANs; ours does."""
    one, other = "2001:db8:20::1", "2001:db8:30::1"
    networks = pf.appliance.config.interfaces
    networks["vlan20"] = (*networks["vlan20"], "2001:db8:20::/64")
    networks["vlan30"] = (*networks["vlan30"], "2001:db8:30::/64")
    naive(pf, "POST", RULE, {**BLOCK, "ipprotocol": "inet"})
    naive(pf, "POST", APPLY, {"async": False})
    assert not pf.udp(WORKER1, WORKER2)
    assert pf.kernel.send("udp", one, other, 5)
    naive(pf, "DELETE", RULES, descr="naive block")
    naive(pf, "POST", APPLY, {"async": False})
    pf.change("block-udp")
    assert not pf.kernel.send("udp", one, other, 6)


def test_two_interfaces_need_a_floating_rule(pf: Bench) -> None:
    """A rule on two interfaces that is not floating is refused; ours are floating and quick."""
    body = {key: value for key, value in BLOCK.items() if key not in ("floating", "quick", "direction")}
    with pytest.raises(CheckError, match="unless `floating` is enabled"):
        naive(pf, "POST", RULE, {**body, "interface": ["vlan20", "vlan30"]})


def test_a_misspelt_key_is_refused(pf: Bench) -> None:
    """openapi-core lets unknown keys pass; the stand-in does not, so a typo cannot hide."""
    with pytest.raises(CheckError, match=r"unknown keys \['dst'\]"):
        naive(pf, "POST", RULE, {**BLOCK, "dst": "any"})


def test_a_schedule_in_use_cannot_be_deleted(pf: Bench) -> None:
    """409 for who deletes the schedule first; ours deletes rules, loads, then the schedule."""
    pf.change("block-udp")
    with pytest.raises(CheckError, match="HTTP 409"):
        naive(pf, "DELETE", SCHEDULES, descr__startswith="vpnmesh")
    pf.change("allow-all")
    assert pf.appliance.config.sections["schedules"] == []


def test_a_call_repeated_after_a_cut_is_made_twice(pf: Bench) -> None:
    """Whoever repeats what got no answer has the rule twice: the first call did its work; ours looks first."""
    pf.appliance.faults = [Fault("POST", RULE, "cut after")]
    with pytest.raises(CutError, match="no answer"):
        naive(pf, "POST", RULE, BLOCK)
    naive(pf, "POST", RULE, BLOCK)
    descrs = [entry.descr for entry in entries(naive(pf, "GET", RULES))]
    assert descrs.count("naive block") == 2


def test_a_change_given_up_in_the_middle_stays_half_made(pf: Bench) -> None:
    """A 500 in mid-change leaves whoever stops there with rules that wait to be loaded; ours goes on or goes back."""
    naive(pf, "POST", RULE, BLOCK)
    pf.appliance.faults = [Fault("POST", RULE, "status", 500)]
    with pytest.raises(CheckError, match="HTTP 500"):
        naive(pf, "POST", RULE, {**BLOCK, "interface": ["vlan30"]})
    assert pf.appliance.config.dirty == {"filter"}


def test_an_id_that_is_gone_is_404(pf: Bench) -> None:
    """The last id is gone once anything before it was deleted; a deletion by query can be made again."""
    for _ in range(2):
        naive(pf, "POST", RULE, BLOCK)
    naive(pf, "DELETE", RULE, id=str(FOREIGN))
    with pytest.raises(CheckError, match="HTTP 404"):
        naive(pf, "DELETE", RULE, id=str(FOREIGN + 1))
    for _ in range(2):
        naive(pf, "DELETE", RULES, descr="naive block")
    assert len(pf.appliance.config.sections["rules"]) == FOREIGN


def test_a_refused_key_that_is_tried_again_locks_everybody_out(pf: Bench) -> None:
    """After three tries with a wrong key the right one gets no answer any more; ours tries once."""
    with pytest.raises(CheckError, match="not accepted"):
        pf.change("block-udp", driver=pf.driver(key="wrong"))
    assert pf.change("block-udp")
    for _ in range(LOCKED_OUT_AFTER):
        with pytest.raises(CheckError):
            pf.driver(key="wrong").api.send(Request("GET", RULES))
    with pytest.raises(CutError, match="no answer"):
        naive(pf, "GET", RULES)


def test_a_dead_callers_write_that_lands_late_is_taken_back(
    pf: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pfSense finishes the call of a caller that was killed, after the roll back deleted everything: it is seen."""
    monkeypatch.setattr("tasks.firewall.pfsense_rest._IN_FLIGHT_S", 0.0)
    before = pf.appliance.config.content()
    pf.change("block-udp-k8s")
    late = [{**BLOCK, "descr": f"vpnmesh:{RUN}:late"}]

    def land(_number: int) -> None:
        if late and pf.appliance.calls[-1].path == SCHEDULES and pf.appliance.calls[-1].method == "DELETE":
            pf.appliance.config.create("rules", late.pop())

    pf.appliance.on_call = land
    assert take_back(pf.driver(), pf.origin(), pf.journal)
    assert late == []
    assert before == pf.appliance.config.content()
    assert set() == pf.appliance.config.dirty


@pytest.mark.parametrize("kind", ["cut before", "cut in", "cut after", "status"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", RULE), ("POST", ALIAS), ("POST", SCHEDULES[:-1]), ("POST", APPLY), ("DELETE", STATES)],
)
def test_a_call_without_an_answer_is_made_once(pf: Bench, method: str, path: str, kind: str) -> None:
    """Cut before, in or after the work, or answered 500: no rule is there twice, and none is missing."""
    before = pf.appliance.config.content()
    pf.udp(WORKER1, WORKER2)
    pf.appliance.faults = [Fault(method, path, kind)]
    pf.change("block-udp-k8s")
    assert pf.appliance.faults == []
    descrs = [rule["descr"] for rule in pf.appliance.config.sections["rules"]]
    assert len(descrs) == len(set(descrs))
    assert not pf.udp(WORKER1, WORKER2)
    pf.change("allow-all")
    assert before == pf.appliance.config.content()


@pytest.mark.parametrize("path", [RULES, ALIASES, SCHEDULES])
def test_a_deletion_that_was_cut_half_way_is_finished(pf: Bench, path: str) -> None:
    """A plural deletion deletes one by one: cut in the middle, the rest is deleted by the next attempt."""
    before = pf.appliance.config.content()
    pf.change("block-udp-k8s")
    pf.appliance.faults = [Fault("DELETE", path, "cut in")]
    pf.change("allow-all")
    assert pf.appliance.faults == []
    assert before == pf.appliance.config.content()


def test_a_change_that_fails_for_good_is_rolled_back_at_once(pf: Bench) -> None:
    """A 400 or 409 in mid-change leaves nothing: configuration and loaded rules are those of before."""
    before = pf.appliance.config.content()
    pf.appliance.faults = [Fault("POST", APPLY, "status", 409)]
    with pytest.raises(CheckError, match="HTTP 409"):
        pf.change("block-udp")
    assert before == pf.appliance.config.content()
    assert pf.udp(WORKER1, WORKER2)
    assert pf.journal.read(pf.origin()) is None


def test_the_stand_in_and_the_driver_share_no_module() -> None:
    """A misunderstanding in common would hide: the stand-in imports nothing of the project but itself."""
    folder = Path(__file__).parents[1] / "pfsense_server"
    names = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            names |= {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
    ours = {name.split(".")[0] for name in names} & {"vpnmesh", "tasks", "workflows", "inventory"}
    assert set() == ours
    assert {"tests.pfsense_server"} == {
        ".".join(name.split(".")[:2]) for name in names if name.startswith("tests")
    }
