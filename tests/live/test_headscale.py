"""Headscale on real nodes: a policy replaced while it runs, falling back to DERP, secrets, lost control plane."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import tasks
from tests.live.vpn import files_with, need, prove_stability, said, secrets_of
from vpnmesh.host.pods import in_pod, pod_address
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.protocol import Question
from vpnmesh.model import Path as Way
from vpnmesh.plan import Secret
from vpnmesh.solutions import headscale, solution_named
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.convergence import Stability
from vpnmesh.study.programs import told_version
from vpnmesh.study.scenarios import scenario_named
from workflows.run.deploying import run_stages
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.provision import (
    Provisioned,
    await_mesh,
    firewall_policy,
    provisioned,
    take_off,
)
from workflows.run.scenario_control import SiteControl
from workflows.run.site import Site

pytestmark = pytest.mark.live

FRAGMENTS = "awk '/^Ip:/ && ++n == 2 { print $20 }' /proc/net/snmp"
SERVER_PID = "cat /run/vpnmesh/headscale.pid"
# a port where nobody listens refuses at once; only a policy lets the packet vanish
TRY_TCP = 'timeout 5 bash -c ": < /dev/tcp/$1/9" 2> /dev/null; [ $? = 124 ] && echo dropped || echo reached'


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


def pods_answer(site: Site, standing: Provisioned) -> bool:
    """Whether the client's pod reaches the server's."""
    address = str(standing.statuses[site.testbed.server.name].address)
    ping = run_on(site.nr, [site.testbed.client.name], tasks.ping_address, address=address, count=3)
    return bool(ping[site.testbed.client.name].result.received)


@pytest.mark.parametrize("name", ["headscale-direct", "headscale-direct-2023"])
def test_the_policy_changes_without_a_restart(name: str, site: Site) -> None:
    """Granular lets pings through and drops other TCP; coarse lets it through again; Headscale is the same process."""
    need(site, name)
    client, control = site.testbed.client.name, site.testbed.control_plane.name
    with provisioned(site, scenario_named(name)) as standing:
        address = str(standing.statuses[site.testbed.server.name].address)
        before = said(site, control, SERVER_PID)

        def tcp() -> str:
            return said(site, client, TRY_TCP, address).strip()

        assert tcp() == "reached"
        for access, wanted in (("granular", "dropped"), ("coarse", "reached")):
            scenario = replace(standing.scenario, options={"access": access})
            mesh = replace(standing.mesh, scenario=scenario)
            stage = next(one for one in standing.solution.stages(mesh) if one.name == "policy")
            changed = run_on(site.nr, [control], tasks.join_stage, mesh=mesh, stage=stage)[control].changed
            assert changed
            assert until(lambda wanted=wanted: tcp() == wanted, seconds=10)  # type: ignore[misc]
            assert pods_answer(site, standing)
        assert before == said(site, control, SERVER_PID)


def test_direct_falls_back_to_derp_and_returns(site: Site) -> None:
    """All times are measured, and the mesh is steady on the direct path afterwards."""
    need(site, "headscale-direct")
    with provisioned(site, scenario_named("headscale-direct")) as standing:
        measurement, pair = measurement_named("convergence"), site.testbed.pairs[0]
        question = Question(
            site.testbed, pair, scenario=standing.scenario, fallback_s=standing.solution.fallback_s
        )
        raw = run_on(
            site.nr,
            [pair.client],
            tasks.measure,
            measurement=measurement,
            question=question,
            others=site.nr.inventory.hosts,
            control=SiteControl(site, standing, pair),
        )[pair.client].result
        measured = measurement.parse(raw, question)
        names = [sample.name for sample in measured.samples]
        assert names == [
            "steady_outage_s",
            "join_s",
            "to_relay_s",
            "to_relay_outage_s",
            "to_direct_s",
            "to_direct_outage_s",
            "restart_s",
        ]
        assert {"steady-worker1.json", "steady-worker2.json"} <= set(raw)
        assert {"to-relay", "to-direct", "restart"} == {
            name.rsplit("-", 1)[0] for name in raw if "ping" in name
        }
        # the client that was restarted found its way back: the other end trusts its own a little later, and where the
        # machine is busy it may lose that trust once more (6.5 s without an answer; magicsock's trustUDPAddrDuration)
        stability: list[Stability] = []
        while len(stability) < 3 and not (stability and stability[-1].included):
            await_mesh(site, standing.solution, standing.mesh, ready_s=60)
            stability.append(prove_stability(site, standing, Way.DIRECT))
        assert stability[-1].included, stability


def test_relaying_although_direct_works_is_excluded(site: Site) -> None:
    """A mesh forced to its relay, with nothing in the way: the stability check says so and leaves it out."""
    need(site, "headscale-relay")
    with provisioned(site, scenario_named("headscale-relay")) as standing:
        firewall_policy(site, "allow-all")
        verdict = prove_stability(site, standing, Way.DIRECT)
        assert not verdict.included
        assert "not on the direct path but relay" in verdict.reason


def test_data_flows_while_the_control_plane_is_down(site: Site) -> None:
    """Headscale killed: pods still talk, on the direct path; and it comes back with the same members."""
    need(site, "headscale-direct")
    control = site.testbed.control_plane.name
    with provisioned(site, scenario_named("headscale-direct")) as standing:
        run_on(site.nr, [control], tasks.kill_services)
        assert pods_answer(site, standing)
        # a pair that had nothing to say for a while is on DERP until it has
        await_mesh(site, standing.solution, standing.mesh, ready_s=30)
        for stage in standing.solution.stages(standing.mesh):
            if control in stage.nodes:
                run_on(site.nr, [control], tasks.join_stage, mesh=standing.mesh, stage=stage)
        nodes = said(
            site, control, "headscale -c /var/lib/vpnmesh/headscale/config.yaml nodes list | grep -c worker"
        )
        assert nodes.strip() == "2"


def test_secrets_lie_where_they_must_and_are_gone_afterwards(site: Site) -> None:
    """The auth key is on the control node, 0600, on no command line and in no text of ours; then nowhere."""
    need(site, "headscale-direct")
    with provisioned(site, scenario_named("headscale-direct")) as standing:
        secrets = secrets_of(standing.mesh)
        assert len(secrets) == 1
        held = files_with(site, secrets)
        assert set(held) == {site.testbed.control_plane.name}
        assert all(line.startswith("600 ") for text in held.values() for line in text.splitlines())
        shown = repr(standing) + "".join(said(site, node, "ps -eo args") for node in site.all_nodes)
        assert [secret for secret in secrets if secret in shown] == []
    assert files_with(site, secrets) == {}


def test_the_peer_relay_carries_the_pods(site: Site) -> None:
    """The relay node's tailscaled has sessions of all three pairs, and what it carried grows when pods talk."""
    need(site, "headscale-peer-relay")
    relay = site.testbed.relay.name

    def carried() -> list[int]:
        """Bytes of each session and direction, as the daemon itself counts them."""
        told = said(site, relay, f"tailscale --socket={headscale.SOCKET} debug peer-relay-sessions")
        return [int(number) for number in re.findall(r"--> .* Bytes: (\d+)", told)]

    with provisioned(site, scenario_named("headscale-peer-relay")) as standing:
        assert {peer.via for status in standing.statuses.values() for peer in status.peers} == {"peer relay"}
        before = carried()
        assert len(before) == 2 * 3
        assert pods_answer(site, standing)
        assert sum(carried()) > sum(before)


@pytest.mark.parametrize(
    ("name", "cut"), [("headscale-direct", False), ("headscale-direct-mtu-1500", True)], ids=["1280", "1500"]
)
def test_only_a_tunnel_as_wide_as_its_link_is_sent_in_fragments(name: str, cut: bool, site: Site) -> None:  # noqa: FBT001
    """Pods' largest packets arrive either way; the node cuts what WireGuard makes of them only where it must."""
    need(site, name)
    client, bed = site.testbed.client.name, site.testbed
    scenario = scenario_named(name)
    # a whole packet: 20 bytes of IP and 8 of ICMP, and not to be cut within the pod network
    largest = ("-M", "do", "-s", str(scenario.pod_mtu - 28))
    ping = in_pod("ping", "-c", "3", "-i", "0.2", *largest, str(pod_address(bed, bed.server)))
    with provisioned(site, scenario):
        before = int(said(site, client, FRAGMENTS))
        # a busy machine may lose one, so it is asked again; a size that is too large is lost every time
        answers = (run_on(site.nr, [client], tasks.run_command, argv=ping)[client].result for _ in range(3))
        assert any(" 0% packet loss" in answer for answer in answers)
        assert (int(said(site, client, FRAGMENTS)) > before) is cut


def test_then_and_now_are_measured_in_one_run(site: Site, tmp_path: Path) -> None:
    """The paper's year and today, both measured: each by its own programs, which the manifest tells apart."""
    names = ["headscale-direct", "headscale-direct-2023"]
    for name in names:
        need(site, name)
    run = tmp_path / "run"
    done = subprocess.run(
        (
            *(sys.executable, "-m", "workflows.full_matrix", "--scenarios", ",".join(names)),
            *("--conditions", "none", "--tests", "tcp", "--repetitions", "1", "--duration", "1"),
            *("--out", str(run)),
        ),
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pl.read_parquet(run / "results.parquet")
    assert dict(rows.select("scenario", "outcome").iter_rows()) == dict.fromkeys(names, "measured")
    nodes = json.loads((run / "manifest.json").read_text())["nodes"]
    folder = scenario_named("headscale-direct-2023").program_folder
    for node, program in (("worker1", "tailscaled --version"), ("hypervisor", "headscale version")):
        now, then = nodes[node][program], nodes[node][f"{folder}/{program}"]
        assert told_version(now) != told_version(then)
    assert told_version(then).startswith("0.21.")


def test_a_refused_key_is_said(site: Site) -> None:
    """A key that the server does not know: joining fails with Tailscale's own word, and nothing stays behind."""
    need(site, "headscale-direct")
    solution, mesh = solution_named("headscale"), Mesh(site.testbed, scenario_named("headscale-direct"))
    control = site.testbed.control_plane.name
    try:
        stages = solution.stages(mesh)
        mesh = run_stages(site, stages[:-1], mesh)
        wrong = mesh.with_published({(control, "auth-key"): Secret(f"hskey-auth-{'0' * 12}-{'0' * 64}")})
        with pytest.raises(HostsFailedError, match=r"auth.?key|AuthKey"):
            run_stages(site, stages[-1:], wrong)
    finally:
        take_off(site, solution, mesh)
    assert site.take_complaints() == []
