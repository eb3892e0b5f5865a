"""Netmaker on real nodes: judged as the paper judged it, its relay's keys, its secrets; skipped without its programs.

No registry serves `netmaker` and `netclient`: docs/solutions/netmaker.md says how to build both.
"""

import json

import pytest

import tasks
from tests.live.vpn import files_with, need, prove_stability, said, secrets_of
from vpnmesh.model import Path
from vpnmesh.solutions import netmaker, netmaker_access, netmaker_control
from vpnmesh.study.checks import check_mesh
from vpnmesh.study.scenarios import scenario_named
from workflows.run.deploying import run_stages
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.provision import await_mesh, firewall_policy, join, mesh_statuses, provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live
KILL = 'pid=$(cat /run/vpnmesh/netclient.pid); kill -9 "$pid"; while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done'
PING = 'ping -c 3 -i 0.3 -W 1 "$1" > /dev/null 2>&1 && echo reached || echo silent'

ASK = 'curl -sS --max-time 10 -H "@$1" "$2"'
TELL = 'printf %s "$3" | curl -sS --max-time 10 -H "@$1" -X POST --data-binary @- "$2"'


def reached(site: Site, address: str) -> str:
    """Whether the client gets an answer from that address inside the VPN."""
    return said(site, site.testbed.client.name, PING, address).strip()


@pytest.mark.parametrize("scenario", ["netmaker-direct", "netmaker-relay"])
def test_the_papers_two_reasons_are_asked_again(scenario: str, site: Site) -> None:
    """Relaying although direct works, and outages: neither is seen while nothing is in the way of either path."""
    need(site, scenario)
    wanted = scenario_named(scenario)
    with provisioned(site, wanted) as standing:
        verdict = prove_stability(site, standing, wanted.path)
        assert verdict.included, verdict.reason


def test_a_relayed_member_stays_relayed_when_direct_works(site: Site) -> None:
    """The gateway is a setting, not a last resort: allowed to meet directly again, members go on through it."""
    need(site, "netmaker-relay")
    with provisioned(site, scenario_named("netmaker-relay")) as standing:
        firewall_policy(site, "allow-all")
        verdict = prove_stability(site, standing, Path.DIRECT)
        assert not verdict.included
        assert "not on the direct path but relay" in verdict.reason


def test_the_relay_holds_the_keys_of_what_it_relays(site: Site) -> None:
    """A relayed member has one peer, the gateway, whose key every packet is encrypted for: it is not end to end."""
    need(site, "netmaker-relay")
    client, relay = site.testbed.client, site.testbed.relay.name
    with provisioned(site, scenario_named("netmaker-relay")) as standing:
        peers = said(site, client.name, f"wg show {netmaker.INTERFACE} peers").split()
        assert peers == [standing.mesh.published_by(relay, "node-key")]


def test_a_daemon_builds_its_interface_once(site: Site) -> None:
    """What is attached to it stays: no message of the server, kept or new, has the daemon build it anew."""
    need(site, "netmaker-relay")
    with provisioned(site, scenario_named("netmaker-relay")):
        for node in (*site.k8s, site.testbed.relay.name):
            log = said(site, node, "cat /run/vpnmesh/netclient.log")
            assert log.count("adding addresses to netmaker interface") == 1, node
            assert "JoinHostToNetwork" not in log, node


def test_a_gateway_that_starts_anew_is_silent_at_first(site: Site) -> None:
    """It is told no endpoints of its members, who go on in tunnels that it knows nothing of, until they renew keys."""
    need(site, "netmaker-relay")
    relay = site.testbed.relay.name
    with provisioned(site, scenario_named("netmaker-relay")) as standing:
        address = str(standing.statuses[site.testbed.server.name].address)
        assert reached(site, address) == "reached"
        said(site, relay, KILL)
        daemons = standing.solution.stages(standing.mesh)[-1]
        run_on(site.nr, [relay], tasks.join_stage, mesh=standing.mesh, stage=daemons)
        ends = said(site, relay, f"wg show {netmaker.INTERFACE} endpoints").split()
        assert ends[1::2] == ["(none)"] * len(site.k8s)
        assert reached(site, address) == "silent"


def test_a_direct_member_that_loses_udp_has_no_path(site: Site) -> None:
    """The community edition does not fall back: without UDP a direct mesh is silent, and direct again after."""
    need(site, "netmaker-direct")
    with provisioned(site, scenario_named("netmaker-direct")) as standing:
        address = str(standing.statuses[site.testbed.server.name].address)
        assert reached(site, address) == "reached"
        firewall_policy(site, "block-udp")
        assert reached(site, address) == "silent"
        firewall_policy(site, "allow-all")
        assert reached(site, address) == "reached"
        check_mesh(standing.mesh, mesh_statuses(site, standing.solution, standing.mesh))


def test_a_relayed_mesh_has_no_way_over_tcp(site: Site) -> None:
    """With UDP to the gateway blocked too, nothing arrives."""
    need(site, "netmaker-relay")
    with provisioned(site, scenario_named("netmaker-relay")) as standing:
        address = str(standing.statuses[site.testbed.server.name].address)
        assert reached(site, address) == "reached"
        firewall_policy(site, "block-udp")
        assert reached(site, address) == "silent"


def test_secrets_lie_where_they_must_and_are_gone_afterwards(site: Site) -> None:
    """Tokens, master key and broker password: readable by root alone, on no command line, gone after leaving."""
    need(site, "netmaker-relay")
    control = site.testbed.control_plane.name
    with provisioned(site, scenario_named("netmaker-relay")) as standing:
        own = said(site, control, "cut -d= -f2 /var/lib/vpnmesh/netmaker-server/secrets.env").split()
        secrets = [*secrets_of(standing.mesh), *own]
        assert len(secrets) == 4 + 2
        held = files_with(site, secrets)
        modes = {line.split()[0] for text in held.values() for line in text.splitlines()}
        # netclient writes its own files 0700, in a folder of ours that is 0700
        assert modes <= {"600", "700"}
        shown = repr(standing) + "".join(said(site, node, "ps -eo args") for node in site.all_nodes)
        assert [secret for secret in secrets if secret in shown] == []
    assert files_with(site, secrets) == {}


def test_a_token_works_once(site: Site) -> None:
    """A client that left cannot come back with it; why is said in netclient's words, without the token."""
    need(site, "netmaker-direct")
    with provisioned(site, scenario_named("netmaker-direct")) as standing:
        client = site.testbed.client.name
        run_on(site.nr, [client], tasks.leave_mesh, solution=standing.solution, mesh=standing.mesh)
        stage = next(one for one in standing.solution.stages(standing.mesh) if one.name == "enrollment")
        with pytest.raises(HostsFailedError, match="invalid enrollment key") as caught:
            run_on(site.nr, [client], tasks.join_stage, mesh=standing.mesh, stage=stage)
        for secret in secrets_of(standing.mesh):
            assert secret not in str(caught.value)


def test_a_client_that_left_joins_again(site: Site) -> None:
    """With a new key, at its own port; the server knows one host of its name, and others reach it."""
    need(site, "netmaker-direct")
    server, control = site.testbed.server.name, site.testbed.control_plane.name
    with provisioned(site, scenario_named("netmaker-direct")) as standing:
        run_on(site.nr, [server], tasks.leave_mesh, solution=standing.solution, mesh=standing.mesh)
        mesh = join(site, standing.solution, standing.mesh)
        statuses = await_mesh(site, standing.solution, mesh)
        assert reached(site, str(statuses[server].address)) == "reached"
        assert said(site, server, f"wg show {netmaker.INTERFACE} listen-port").strip() == str(netmaker.PORT)
        hosts = said(
            site, control, ASK, netmaker_control.API.header_file, f"{netmaker_control.API.url}/api/hosts"
        )
        assert [one["name"] for one in json.loads(hosts)].count(server) == 1


def test_the_community_edition_refuses_a_rule_of_one_direction(site: Site) -> None:
    """And takes the same rule both ways: so that is how rules are asked for here."""
    need(site, "netmaker-direct")
    control = site.testbed.control_plane.name
    with provisioned(site, scenario_named("netmaker-direct")) as standing:
        run_stages(site, standing.solution.access(standing.mesh, None), standing.mesh)
        rule = {
            "name": "one way",
            "network_id": netmaker_control.NETWORK,
            "policy_type": "device-policy",
            "src_type": [{"id": "tag", "value": "*"}],
            "dst_type": [{"id": "tag", "value": "*"}],
            "protocol": "all",
            "type": "Any",
            "ports": [],
            "enabled": True,
        }
        owner = netmaker_access.OWNER
        answers = [
            said(site, control, TELL, owner.header_file, f"{owner.url}/api/v1/acls", json.dumps(rule | way))
            for way in ({"allowed_traffic_direction": 0}, {"allowed_traffic_direction": 1})
        ]
        assert "uni traffic flow not allowed on CE" in answers[0]
        assert "created acl successfully" in answers[1]
