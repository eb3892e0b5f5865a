"""workflows.doctor on a lab that is well, on one that is ill in many ways, and where none stands."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import ROOT
from tests.live.vpn import said
from vpnmesh.doctor.finding import Check
from vpnmesh.lab.lifecycle import find
from vpnmesh.model import Condition, Placement
from workflows.doctor import main
from workflows.run import provenance
from workflows.run.impair import choose_engine, impaired
from workflows.run.site import Site

pytestmark = pytest.mark.live

FATAL = "fatal"
Findings = list[dict[str, str]]
# each leaves its pid, so that the test can end what it started
_DETACHED = 'p=/tmp/$1.pid; shift; setsid -f sh -c \'echo $$ > "$0"; exec "$@" > /dev/null 2>&1\' "$p" "$@"'


def doctor(*options: str) -> tuple[int, Findings]:
    """Exit code and findings."""
    done = CliRunner().invoke(main, ["--json", *options])
    assert done.stdout, done.output
    return done.exit_code, json.loads(done.stdout)


def found(findings: Findings, check: str, where: str) -> list[str]:
    """What was said that is not good, of one check at one place."""
    return [
        one["said"]
        for one in findings
        if (one["check"], one["where"]) == (check, where) and one["grade"] != "good"
    ]


def test_a_healthy_lab_can_run(site: Site) -> None:
    """Exit code 0, nothing fatal, every check made; only the machine's load may be warned of."""
    code, findings = doctor("--scenarios", "native-1450,nebula-relay")
    assert (code, [one for one in findings if one["grade"] == FATAL]) == (0, [])
    assert {one["check"] for one in findings} == set(Check) - {Check.CLUSTER}
    nodes = {one["where"] for one in findings if one["check"] == "ssh"}
    assert nodes == {node.name for node in site.testbed.nodes}
    assert any("iperf 3" in one["said"] for one in findings if one["check"] == "binaries")


def test_every_illness_is_found_where_it_is(site: Site) -> None:
    """Overlay and impairment of an earlier run, a small MTU, a foreign service, foreign traffic, unlike offloads:
    each is named at its node with a way out, the rest is still looked at, and the exit code is 1.
    """
    bed = site.testbed
    relay, server, master = (node.name for node in (bed.relay, bed.server, bed.master))
    engine = choose_engine(site)
    (target,) = engine.targets(bed, bed.pairs[0], Placement())
    said(site, server, "ip tuntap add dev wt0 mode tun; ip link set wt0 up; ethtool -K eth0 tso off gso off")
    said(site, master, "ip link set eth0 mtu 1400")
    said(site, relay, "cp /usr/bin/sleep /tmp/kubelet")
    said(site, relay, _DETACHED, "service", "/tmp/kubelet", "999")
    flood = ("ping", "-q", "-i", "0.002", "-s", "1400", str(bed.control_plane.underlay))
    said(site, relay, _DETACHED, "flood", *flood)
    try:
        with impaired(site, engine, Condition(loss_pct=1), Placement()):
            code, findings = doctor("--scenarios", "native-1450")
        differing = provenance.surroundings(site, None, engine).node_differences
    finally:
        said(site, relay, "kill $(cat /tmp/service.pid /tmp/flood.pid); rm -f /tmp/kubelet /tmp/*.pid")
        said(site, server, "ip link delete wt0; ethtool -K eth0 tso on gso on")
        said(site, master, "ip link set eth0 mtu 1500; ip route replace 192.88.99.0/24 via 192.88.99.1")
    assert code == 1
    assert found(findings, "leftovers", server) == ["interface wt0"]
    assert found(findings, "leftovers", target.node) != []
    assert "packets of 1400 bytes, not 1500" in found(findings, "mtu", master)[0]
    assert found(findings, "foreign", relay) == ["service kubelet (Kubernetes)"]
    assert "eth0 receives" in found(findings, "traffic", relay)[0]
    assert any("tcp-segmentation-offload" in one for one in found(findings, "alike", "nodes"))
    assert isinstance(differing, list)
    assert any("tcp-segmentation-offload" in one for one in differing)
    assert [one for one in findings if one["grade"] != "good" and not one["do"]] == []


def test_a_node_without_ssh_is_named_and_the_others_are_asked(site: Site, tmp_path: Path) -> None:
    """A wrong address in the inventory: one fatal finding with the login to try; the other five are judged."""
    source = ROOT / "inventory" / "lab"
    for file in source.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    hosts = tmp_path / "hosts.yaml"
    relay = site.testbed.relay
    hosts.write_text(hosts.read_text().replace(f"hostname: {relay.management}", "hostname: 127.0.0.77"))
    code, findings = doctor("--inventory", str(tmp_path), "--scenarios", "native-1450")
    assert code == 1
    (one,) = found(findings, "ssh", relay.name)
    assert "no SSH" in one
    assert {one["where"] for one in findings if one["check"] == "leftovers"} >= {"worker1", "firewall"}


def test_without_a_lab_one_is_brought_up_and_nothing_left(place: Path) -> None:
    """The doctor of a lab that does not stand looks at one of its own, and takes it down again."""
    done = CliRunner().invoke(main, ["--scenarios", "native-1450"])
    assert (done.exit_code, find(), place.exists()) == (0, None, False), done.output
    assert "a run can start" in done.stdout


def test_a_wrong_inventory_is_a_finding_too(tmp_path: Path) -> None:
    """Exit code 2 and one sentence; with --json the sentence is a finding with a way out."""
    code, findings = doctor("--inventory", str(tmp_path))
    assert (code, [one["check"] for one in findings]) == (2, ["inventory"])
    assert "built in are" in findings[0]["do"]
