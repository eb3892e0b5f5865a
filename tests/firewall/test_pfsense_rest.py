"""The REST driver against the stand-in: what it writes, what packets then do, and how it comes back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from inventory.load import load
from tasks.firewall.journal import HISTORY
from tests.firewall.appliance import (
    RELAY,
    RUN,
    WORKER1,
    WORKER2,
    Bench,
    inventory,
    without_nodes,
)
from tests.pfsense_server.config import Item
from tests.pfsense_server.server import Fault
from vpnmesh.errors import CheckError, InputError
from vpnmesh.firewall.pfsense_rest import PUBLISHED, REVISIONS
from vpnmesh.firewall.policy import POLICIES, policy_named, resolve
from workflows.run.firewall import RENEW_EVERY_S, FirewallRun, keep_policy, set_policy
from workflows.teardown import main as teardown

NAMES = [policy.name for policy in POLICIES if policy.name != "allow-all"]


@pytest.mark.parametrize("name", NAMES)
def test_policy_holds_and_leaves_no_trace(pf: Bench, name: str) -> None:
    """Every policy can be set and rolled back; a second time changes nothing; at the end the snapshot is back."""
    before = pf.appliance.config.content()
    assert pf.change(name)
    assert not pf.change(name)
    assert pf.journal.read(pf.origin()) is not None
    assert pf.change("allow-all")
    assert before == pf.appliance.config.content()
    assert pf.journal.read(pf.origin()) is None


def test_old_udp_flow_is_stopped_and_the_relay_stays_reachable(pf: Bench) -> None:
    """A flow that had a state before the change is stopped by it; UDP to the relay and TCP between nodes pass."""
    assert pf.udp(WORKER1, WORKER2)
    pf.change("block-udp-k8s")
    assert not pf.udp(WORKER1, WORKER2)
    assert pf.udp(WORKER1, RELAY)
    assert pf.kernel.send("tcp", WORKER1, WORKER2, 22)
    pf.change("allow-all")
    assert pf.udp(WORKER1, WORKER2)


def test_policy_changes_within_a_run(pf: Bench) -> None:
    """From one policy to another only the new one's objects are left, in their order."""
    pf.change("block-udp-k8s")
    pf.change("tcp-443-only")
    ours = [
        rule["descr"]
        for rule in pf.appliance.config.sections["rules"]
        if rule["descr"].startswith("vpnmesh:")
    ]
    assert [f"vpnmesh:{RUN}:tcp-443-only 00", f"vpnmesh:{RUN}:tcp-443-only 01"] == ours
    assert pf.kernel.send("tcp", WORKER1, WORKER2, 443)
    assert not pf.kernel.send("tcp", WORKER1, WORKER2, 22)


def test_every_published_call_is_used_as_the_schema_says(pf: Bench) -> None:
    """The stand-in judged each call by the schema and refused none; no call replaces a whole list."""
    pf.change("block-udp-k8s")
    pf.change("allow-all")
    assert {200} == {call.status for call in pf.appliance.calls}
    assert "PUT" not in {call.method for call in pf.appliance.calls}
    used = {call.path for call in pf.appliance.calls}
    assert {"/api/v2/diagnostics/command_prompt"} == set(PUBLISHED) - used


def test_another_run_on_the_firewall_is_an_error_before_the_first_write(pf: Bench) -> None:
    """Two runs never write to one firewall; run `run-1` is not mistaken for `run-10`."""
    pf.change("block-udp", run="run-10")
    writes = len([call for call in pf.appliance.calls if call.method != "GET"])
    with pytest.raises(CheckError, match="run run-10 holds this firewall"):
        pf.change("block-udp")
    assert writes == len([call for call in pf.appliance.calls if call.method != "GET"])


def test_revision_is_in_the_journal_and_stays_on_record(pf: Bench) -> None:
    """pfSense's newest revision before the first write is journalled, and found in the history after the way back."""
    newest = pf.appliance.config.history[-1]
    pf.change("block-udp")
    begun = pf.journal.read(pf.origin())
    assert begun is not None
    assert f"{newest['time']} {newest['description']} sha256:" == begun.revision[:-16]
    pf.change("allow-all")
    lines = (pf.journal.directory / HISTORY).read_text().splitlines()
    assert [(RUN, begun.revision)] == [(one["run"], one["revision"]) for one in map(json.loads, lines)]


@pytest.mark.parametrize("status", [404, 500])
def test_a_box_that_shows_no_revisions_gets_a_digest(pf: Bench, status: int) -> None:
    """Without the history, or where it is broken, the change is made all the same."""
    pf.appliance.faults = [Fault("GET", REVISIONS, "status", status)]
    pf.change("block-udp")
    begun = pf.journal.read(pf.origin())
    assert begun is not None
    assert begun.revision.startswith("sha256:")


def test_one_process_at_a_time_writes_to_a_firewall(pf: Bench) -> None:
    """While another process of this machine changes the firewall, under whatever run, nothing is written."""
    with (
        pf.journal.writer(pf.origin("run-10")),
        pytest.raises(CheckError, match="another process of this machine"),
    ):
        pf.change("block-udp")
    assert {"GET"} == {call.method for call in pf.appliance.calls}


def test_roll_back_of_one_run_leaves_anothers_objects(pf: Bench) -> None:
    """Rolling back run `run-1` deletes nothing of run `run-10`."""
    pf.change("block-udp", run="run-10")
    held = pf.appliance.config.content()
    assert pf.driver("run-1").roll_back(None) is False
    assert held == pf.appliance.config.content()


def test_foreign_rule_above_ours_is_reported(pf: Bench) -> None:
    """A quick floating pass for UDP would decide first: the change is refused and names it."""
    rule: Item = {
        "type": "pass",
        "interface": ["vlan20"],
        "ipprotocol": "inet",
        "protocol": "udp",
        "source": "any",
    }
    rule |= {"destination": "any", "descr": "VoIP", "floating": True, "quick": True, "direction": "in"}
    pf.appliance.config.create("rules", rule)
    pf.appliance.config.dirty.clear()
    with pytest.raises(CheckError, match=r"foreign floating rule 'VoIP' \(pass\) stands above"):
        pf.change("block-udp")


@pytest.mark.parametrize(
    ("source", "conflicts"), [("any", True), ("192.88.99.8/29", True), ("10.9.0.0/16", False)]
)
def test_foreign_mapping_above_ours_is_reported(pf: Bench, source: str, *, conflicts: bool) -> None:
    """A foreign outbound mapping for a worker's addresses would translate first: refused; others' are no concern."""
    mapping: Item = {"interface": "vlan40", "source": source, "destination": "any", "target": "vlan40:ip"}
    pf.appliance.config.create("mappings", {**mapping, "static_nat_port": False, "descr": "theirs"})
    pf.appliance.config.dirty.clear()
    if conflicts:
        with pytest.raises(CheckError, match="foreign outbound mapping 'theirs' stands above"):
            pf.change("nat-endpoint-independent")
    else:
        assert pf.change("nat-endpoint-independent")


def test_somebodys_pending_changes_are_not_loaded_with_ours(pf: Bench) -> None:
    """Changes that wait for Apply Changes are somebody's: the driver refuses to load them."""
    pf.appliance.config.create("aliases", {"name": "half", "type": "host", "address": ["192.0.2.1"]})
    with pytest.raises(CheckError, match="somebody's changes wait"):
        pf.change("block-udp")


def test_rules_end_by_themselves(pf: Bench) -> None:
    """After the schedule's end the next quarter's reload leaves the blocks out, though nobody rolled back."""
    start = pf.appliance.config.clock()
    pf.change("block-udp")
    assert not pf.udp(WORKER1, WORKER2)
    pf.appliance.config.clock = lambda: start + 2.5 * 3600
    pf.appliance.reload_on_the_quarter()
    assert pf.udp(WORKER1, WORKER2)


def test_rules_are_renewed_when_half_of_their_time_has_gone(pf: Bench) -> None:
    """Setting the same policy again costs no write at first, and one PATCH after an hour."""
    start = pf.appliance.config.clock()
    pf.change("block-udp")
    calls = len(pf.appliance.calls)
    assert pf.change("block-udp") == ""
    pf.appliance.config.clock = lambda: start + 1.6 * 3600
    assert pf.change("block-udp") == "firewall policy block-udp: renewed"
    writes = [call.method for call in pf.appliance.calls[calls:] if call.method != "GET"]
    assert writes == ["PATCH"]
    pf.appliance.config.clock = lambda: start + 3 * 3600
    pf.appliance.reload_on_the_quarter()
    assert not pf.udp(WORKER1, WORKER2)


def test_a_run_renews_its_policy_by_itself(pf: Bench, tmp_path: Path) -> None:
    """Between repetitions a run looks at most every ten minutes, and renews once half of the time has gone."""
    nr, testbed = load(inventory(pf, tmp_path))
    mark = FirewallRun(RUN, pf.journal)
    start = pf.appliance.config.clock()
    set_policy(nr, testbed, "block-udp", mark)
    calls = len(pf.appliance.calls)
    keep_policy(nr, testbed, "block-udp", mark)
    assert calls == len(pf.appliance.calls)
    pf.appliance.config.clock = lambda: start + 1.6 * 3600
    mark.looked_at -= RENEW_EVERY_S
    keep_policy(nr, testbed, "block-udp", mark)
    assert [call.method for call in pf.appliance.calls[calls:] if call.method != "GET"] == ["PATCH"]


def test_teardown_takes_the_firewall_back_though_no_node_answers(
    pf: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`workflows.teardown --run` says which nodes it could not clean, exit code 1, and rolls the firewall back."""
    monkeypatch.setenv("VPNMESH_STATE_DIR", str(tmp_path / "state"))
    folder = Path(inventory(pf, tmp_path))
    without_nodes(folder)
    before = pf.appliance.config.content()
    set_policy(*load(str(folder)), "block-udp", FirewallRun(RUN))
    assert before != pf.appliance.config.content()
    done = CliRunner().invoke(teardown, ["--run", RUN, "--inventory", str(folder)])
    assert (done.exit_code, before) == (1, pf.appliance.config.content()), done.output
    assert f"firewall: changes of run {RUN}: removed" in done.output
    assert "worker1: cannot be reached: " in done.output


def test_firewall_in_another_time_zone_keeps_our_rules(pf: Bench) -> None:
    """Schedules go by the firewall's local time, whatever ours is."""
    pf.appliance.config.timezone = "Pacific/Auckland"
    pf.change("block-udp")
    assert not pf.udp(WORKER1, WORKER2)


def test_rules_that_cannot_expire_are_said_before_the_first_write(pf: Bench) -> None:
    """Without the schedule path, as on an older package, the policy holds, and the person is told."""
    pf.appliance.hidden = {"/api/v2/firewall/schedules"}
    said: list[str] = []
    driver = pf.driver(said=said)
    pf.change("block-udp", driver=driver)
    assert [text[:36] for text in said] == ["the rules will not end by themselves"]
    assert not pf.udp(WORKER1, WORKER2)


def test_nat_needs_the_hybrid_mode(pf: Bench) -> None:
    """In automatic mode pfSense ignores mappings: refused with the way out, nothing written."""
    pf.appliance.config.nat_mode = "automatic"
    before = pf.appliance.config.content()
    with pytest.raises(CheckError, match="set Firewall > NAT > Outbound to Hybrid"):
        pf.change("nat-symmetric")
    assert before == pf.appliance.config.content()


def test_wrong_key_is_tried_once(pf: Bench) -> None:
    """A 401 is never retried, for pfSense locks out; the message says so."""
    with pytest.raises(CheckError, match="the key is not accepted; not tried again"):
        pf.change("block-udp", driver=pf.driver(key="wrong"))
    assert len(pf.appliance.calls) == 1


def test_missing_privilege_is_named(pf: Bench) -> None:
    """A 403 names the least privilege that the user lacks."""
    pf.appliance.keys["a key"] = {"api-v2-firewall-rules-get"}
    with pytest.raises(CheckError, match="lacks the privilege api-v2-firewall-aliases-get"):
        pf.change("block-udp")


def test_missing_package_is_named(pf: Bench) -> None:
    """A web page instead of an answer means that the REST API is not installed."""
    pf.appliance.package = False
    with pytest.raises(CheckError, match="install the package pfSense-pkg-RESTAPI"):
        pf.change("block-udp")


def test_self_signed_certificate_is_refused_and_its_fingerprint_said(pf: Bench) -> None:
    """Without a CA the certificate is not trusted; with the fingerprint from the message it is."""
    with pytest.raises(InputError, match="its SHA-256 is") as caught:
        pf.change("block-udp", driver=pf.driver(ca_file=None))
    assert pf.appliance.calls == []
    fingerprint = str(caught.value).split("SHA-256 is ")[1].split(";")[0]
    assert pf.change("block-udp", driver=pf.driver(ca_file=None, fingerprint=fingerprint))


def test_another_certificate_than_the_pinned_one_is_refused(pf: Bench) -> None:
    """A pinned fingerprint that does not fit stops the connection before the key is sent."""
    with pytest.raises(InputError, match="not trusted"):
        pf.change("block-udp", driver=pf.driver(ca_file=None, fingerprint="0" * 64))
    assert pf.appliance.calls == []


def test_plain_http_is_refused(pf: Bench) -> None:
    """The key never travels in the clear."""
    with pytest.raises(InputError, match="is not https"):
        pf.driver(url=pf.url.replace("https", "http"))


def test_loaded_rules_are_looked_at_where_it_is_allowed(pf: Bench) -> None:
    """With the command prompt allowed, a rule that is in the configuration and not loaded is an error."""
    driver = replace(pf.driver(), loaded_check=True)
    pf.change("block-udp-k8s", driver=driver)
    pf.kernel.rules = tuple(rule for rule in pf.kernel.rules if not rule.descr.endswith("01"))
    with pytest.raises(CheckError, match=r"in the configuration and yet not loaded: .* 01"):
        driver.verify(resolve(policy_named("block-udp-k8s"), pf.testbed))
