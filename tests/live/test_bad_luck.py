"""What goes wrong with control planes, relays, keys, ports and clocks, on every solution that has them."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from rich.console import Console

import tasks
from tests.live.test_headscale import pods_answer, until
from tests.live.test_netbird import stands
from tests.live.vpn import cut_off, need, said, with_any
from tests.needs import needs
from vpnmesh.errors import CheckError, VpnmeshError
from vpnmesh.host.pods import pod_address
from vpnmesh.host.service import running
from vpnmesh.model import Condition, Testbed
from vpnmesh.plan import Fact, Plan, Secret
from vpnmesh.solutions import (
    headscale,
    headscale_control,
    nebula,
    netbird,
    netbird_control,
    solution_named,
    zerotier,
    zerotier_networks,
)
from vpnmesh.solutions.protocol import Mesh, Peer, Stage, Status
from vpnmesh.study.checks import check_mesh
from vpnmesh.study.journal import TeardownProblem, of_kind
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.scenarios import scenario_named
from workflows.run.deploying import run_stages
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.impair import choose_engine
from workflows.run.progress import RunProgress
from workflows.run.provision import await_mesh, join, mesh_statuses, provisioned, take_off
from workflows.run.runner import MatrixRun
from workflows.run.site import Site
from workflows.run.store import Store

pytestmark = pytest.mark.live

DIRECT = ("headscale-direct", "netbird-direct", "zerotier-direct")
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
OCCUPY = """
python3 -c "import socket,time; s=socket.create_server(('', $1)); time.sleep(120)" > /dev/null 2>&1 < /dev/null &
echo $!; sleep 0.5
"""


def kill(site: Site, node: str) -> None:
    """End all our services there as a crash would."""
    assert run_on(site.nr, [node], tasks.kill_services)[node].result


@pytest.mark.parametrize("scenario", ["netbird-direct", "zerotier-direct"])
def test_data_flows_while_the_control_plane_is_down(scenario: str, site: Site) -> None:
    """Its daemons killed, pods still talk on the direct path; started again, the mesh is the same."""
    need(site, scenario)
    with provisioned(site, scenario_named(scenario)) as standing:
        kill(site, site.testbed.control_plane.name)
        assert pods_answer(site, standing)
        check_mesh(standing.mesh, mesh_statuses(site, standing.solution, standing.mesh))
        again = join(site, standing.solution, standing.mesh)
        assert until(lambda: stands(site, standing), seconds=60)
        keys = {
            key: value for key, value in standing.mesh.published.items() if key[1] in ("node-key", "identity")
        }
        assert keys == {key: again.published[key] for key in keys}


@pytest.mark.parametrize("scenario", ["headscale-relay", "netbird-relay", "zerotier-relay"])
def test_a_relay_that_died_is_found_again(scenario: str, site: Site) -> None:
    """Relayed pods fall silent with their relay, and talk again by themselves after it came back.

    ZeroTier 1.14 did not within 420 s of being pinged: all its daemons must be started anew, which joining does.
    """
    need(site, scenario)
    with provisioned(site, scenario_named(scenario)) as standing:
        kill(site, site.testbed.relay.name)
        assert until(lambda: not pods_answer(site, standing), seconds=30)
        for node in (*site.k8s, site.testbed.control_plane.name) if scenario.startswith("zerotier") else ():
            kill(site, node)
        join(site, standing.solution, standing.mesh)
        await_mesh(site, standing.solution, standing.mesh, ready_s=120)
        # NetBird offers again every 20 to 30 s, and the other end may still believe in the relay's former connection
        assert until(lambda: pods_answer(site, standing), seconds=180)


@pytest.mark.parametrize("scenario", DIRECT)
def test_a_client_that_never_connects_is_a_failed_row_with_its_log(
    scenario: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline passes, the attempt fails with the reason, its log is in raw/, no secret is in the run directory."""
    need(site, scenario)
    solution = type(solution_named(scenario_named(scenario).solution))
    for place, name in ((headscale, "JOIN_S"), (netbird, "JOIN_S"), (solution, "ready_s")):
        monkeypatch.setattr(place, name, 15.0)
    profile = replace(
        PROFILES["quick"],
        scenarios=(scenario,),
        conditions=(Condition(),),
        tests=("idle",),
        repetitions_clean=1,
    )
    plan = plan_matrix(profile, site.testbed.pairs, seed=1)
    store, server = Store.create(tmp_path / "run", secrets=site.secrets), site.testbed.server.name
    matrix = MatrixRun(site, plan, store, choose_engine(site))
    with cut_off(site, server), RunProgress(Console(quiet=True), plan, 0) as progress:
        matrix.run(progress)
    rows = store.repetitions
    assert [row.outcome for row in rows] == ["failed"]
    assert server in str(rows[0].reason)
    logs = {path.name: path.read_text() for path in (store.directory / str(rows[0].raw)).iterdir()}
    assert [name for name in logs if name.startswith(f"{server}-") and logs[name].strip()]
    secrets = [secret.reveal() for secret in site.secrets]
    assert with_any(store.directory, secrets) == []
    assert of_kind(store.events, TeardownProblem) == []


@pytest.mark.parametrize(
    ("scenario", "port"),
    [
        ("headscale-direct", headscale_control.CONTROL_PORT),
        ("netbird-direct", netbird_control.MANAGEMENT_PORT),
        ("zerotier-direct", 9993),
    ],
)
def test_a_port_that_is_taken_is_said(scenario: str, port: int, site: Site) -> None:
    """The control plane's own words end the attempt, its log is kept, and whoever holds the port lives on."""
    need(site, scenario)
    control = site.testbed.control_plane.name
    pid = said(site, control, OCCUPY, str(port)).strip()
    try:
        with (
            pytest.raises(HostsFailedError, match=r"in use|bind"),
            provisioned(site, scenario_named(scenario)),
        ):
            pass
        logs = site.take_logs()
        assert [
            name
            for name, text in logs.items()
            if name.startswith(control) and ("in use" in text or "bind" in text)
        ]
        assert site.take_complaints() == []
    finally:
        # fails, and so does the test, when it is gone already
        said(site, control, 'kill "$1"', pid)


@pytest.mark.parametrize("scenario", DIRECT)
def test_a_peer_left_over_is_not_taken_for_its_successor(scenario: str, site: Site) -> None:
    """A worker that lost its state joins anew beside its old self in the control plane: the mesh stands on the new."""
    need(site, scenario)
    server = site.testbed.server.name
    with provisioned(site, scenario_named(scenario)) as standing:
        run_on(site.nr, [server], tasks.leave_mesh, solution=standing.solution, mesh=standing.mesh)
        mesh = join(site, standing.solution, standing.mesh)
        changed = {key for key in mesh.published if mesh.published[key] != standing.mesh.published[key]}
        assert {key for key in changed if key[1] in ("node-key", "identity")} in (
            {(server, "node-key")},
            {(server, "identity")},
        )
        await_mesh(site, standing.solution, mesh)
    assert site.take_complaints() == []


def test_a_setup_key_that_is_refused_is_said(site: Site) -> None:
    """NetBird with a key that management does not know: its own words, without the key, and nothing stays behind."""
    need(site, "netbird-direct")
    solution, mesh = solution_named("netbird"), Mesh(site.testbed, scenario_named("netbird-direct"))
    key = "00000000-0000-4000-8000-000000000000"
    try:
        stages = solution.stages(mesh)
        mesh = run_stages(site, stages[:-1], mesh)
        wrong = mesh.with_published({(site.testbed.control_plane.name, "setup-key"): Secret(key)})
        with pytest.raises(HostsFailedError, match=r"(?i)setup key|permission|invalid") as caught:
            run_stages(site, stages[-1:], wrong)
        assert key not in str(caught.value)
    finally:
        take_off(site, solution, mesh)
    assert site.take_complaints() == []


def test_a_member_that_nobody_authorised_has_no_path(site: Site) -> None:
    """ZeroTier's network is private: who is not let in gets no address, and the mesh is said not to stand."""
    need(site, "zerotier-direct")
    solution, mesh = solution_named("zerotier"), Mesh(site.testbed, scenario_named("zerotier-direct"))
    try:
        mesh = run_stages(site, [one for one in solution.stages(mesh) if one.name != "authorised"], mesh)
        with pytest.raises(CheckError, match=r"mtu|not at all"):
            await_mesh(site, solution, mesh, ready_s=15)
        assert {status.address for status in mesh_statuses(site, solution, mesh).values()} == {None}
    finally:
        take_off(site, solution, mesh)


def test_clocks_an_hour_apart_do_not_matter(site: Site) -> None:
    """ZeroTier on one worker lives an hour ahead and on the other an hour behind: the mesh stands, direct."""
    need(site, "zerotier-direct")
    needs(FAKETIME is not None, "libfaketime (Debian package faketime)")
    bed = site.testbed
    hours = {bed.client.name: "+1h", bed.server.name: "-1h"}

    def skewed(mesh: Mesh, name: str) -> Fact[Plan]:
        service = zerotier.member(mesh)
        offset = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": hours[name]} if name in hours else {}
        return running(replace(service, environment={**service.environment, **offset}))

    solution, mesh = solution_named("zerotier"), Mesh(bed, scenario_named("zerotier-direct"))
    try:
        mesh = run_stages(site, solution.stages(mesh)[:-1], mesh)
        members = Stage("members", tuple(site.k8s), lambda mesh, node: skewed(mesh, node.name))
        mesh = run_stages(site, [members], mesh)
        ask = f"zerotier-cli -D{zerotier_networks.HOME} -j info"
        clocks = {name: json.loads(said(site, name, ask))["clock"] / 1000 for name in site.k8s}
        apart = {name: round((clock_s - time.time()) / 3600) for name, clock_s in clocks.items()}
        assert apart == {**dict.fromkeys(site.k8s, 0), bed.client.name: 1, bed.server.name: -1}
        check_mesh(mesh, await_mesh(site, solution, mesh))
    finally:
        take_off(site, solution, mesh)
    assert site.take_complaints() == []


@pytest.mark.parametrize("scenario", ["zerotier-direct", "nebula-direct"])
def test_without_the_blacklist_every_look_is_judged_by_its_endpoints(scenario: str, site: Site) -> None:
    """Calico's interfaces allowed, pods up: each look is refused if, and only if, an endpoint is not the underlay.

    Whether the VPN falls for the pod network is its own affair; so one endpoint of the last look is moved there by
    hand, and that look must be refused.
    """
    need(site, scenario)
    with provisioned(site, scenario_named(scenario)) as standing:
        mesh, bed = standing.mesh, site.testbed
        allowed = replace(mesh, blacklist=())
        changed = run_on(
            site.nr, site.k8s, tasks.blacklist_interfaces, solution=standing.solution, mesh=allowed
        )
        assert {result.changed for result in changed.values()} == {True}
        ends_at = time.monotonic() + 20
        while time.monotonic() < ends_at:
            statuses = mesh_statuses(site, standing.solution, allowed)
            assert verdict(mesh, statuses) == ("endpoint" if strays(bed, statuses) else "stands")
        looped = moved(statuses[bed.client.name], bed.server.name, pod_address(bed, bed.server))
        assert verdict(mesh, {**statuses, bed.client.name: looped}) == "endpoint"


@pytest.mark.parametrize("where", ["pod", "management"])
def test_nebula_that_is_led_astray_is_caught(where: str, site: Site) -> None:
    """Told by its own console to send to the peer's pod, or over management, Nebula does, and the guard names it."""
    with provisioned(site, scenario_named("nebula-direct")) as standing:
        mesh, bed = standing.mesh, site.testbed
        address, words = {
            "pod": (str(pod_address(bed, bed.server)), "in the pod network"),
            "management": (bed.server.management, "worker2's management address"),
        }[where]
        argv = nebula._console(
            "change-remote", "-address", f"{address}:{nebula.PORT}", str(mesh.overlay(bed.server).ip)
        )
        with cut_off(site, bed.server.name):
            assert verdict(mesh, mesh_statuses(site, standing.solution, mesh)) == "stands"
            run_on(site.nr, [bed.client.name], tasks.run_command, argv=argv)
            with pytest.raises(CheckError, match=f"worker1 reaches worker2 at {address}, {words}") as caught:
                check_mesh(mesh, mesh_statuses(site, standing.solution, mesh))
        assert caught.value.stage == "endpoint"


def strays(bed: Testbed, statuses: Mapping[str, Status]) -> list[Peer]:
    """The peers that are sent to at another address than their own underlay's."""
    return [
        peer
        for status in statuses.values()
        for peer in status.peers
        if peer.endpoint != bed.node(peer.name).underlay
    ]


def moved(status: Status, name: str, endpoint: IPv4Address) -> Status:
    """The same status, with that peer's endpoint elsewhere."""
    peers = (replace(peer, endpoint=endpoint) if peer.name == name else peer for peer in status.peers)
    return replace(status, peers=tuple(peers))


def verdict(mesh: Mesh, statuses: Mapping[str, Status]) -> str:
    """ "stands", or the stage at which the check failed."""
    try:
        check_mesh(mesh, statuses)
    except VpnmeshError as error:
        return str(getattr(error, "stage", "other"))
    return "stands"
