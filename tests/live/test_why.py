"""Prepared illnesses and their diagnoses: each is made in the lab, told by its cause, and gone once it is healed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath

import pytest

import tasks
from tests.conftest import ROOT
from tests.live.faulty_runs import Matrix
from tests.live.test_impair_command import footprint
from tests.live.vpn import need, said
from vpnmesh.host.pods import pod_address
from vpnmesh.lab.waiting import wait_until
from vpnmesh.model import Path
from vpnmesh.study.journal import PairDiagnosed, of_kind
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.why.finding import Cause, Effect, Finding
from vpnmesh.why.words import Diagnosis, lines
from workflows.run.diagnosing import why
from workflows.run.hosts import run_on
from workflows.run.lease import lease_holders
from workflows.run.provision import Provisioned, firewall_policy, mesh_statuses, provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live
FAKE_DATE = """
cp /bin/date /run/real-date
printf '#!/bin/sh\\nexec /run/real-date -d "+2 hours" "$@"\\n' > /run/fake-date; chmod +x /run/fake-date
mount --bind /run/fake-date "$(readlink -f /bin/date)"
"""
STARVED = """
cg=/sys/fs/cgroup; mount -t tmpfs none "$cg" && mkdir "$cg/cpu" && mount -t cgroup -o cpu none "$cg/cpu" || exit
group="$cg/cpu/$1"; mkdir "$group"; echo 1500 > "$group/cpu.cfs_quota_us"
for d in /proc/[0-9]*; do [ "$(cat "$d/comm" 2> /dev/null)" = "$2" ] && echo "${d#/proc/}" > "$group/cgroup.procs"; done
true
"""
FED = """
cg=/sys/fs/cgroup
while read -r pid; do echo "$pid" > "$cg/cpu/cgroup.procs"; done < "$cg/cpu/$1/cgroup.procs"
rmdir "$cg/cpu/$1"; umount "$cg/cpu"; umount "$cg"
"""
SIGNALLED = """
for d in /proc/[0-9]*; do [ "$(cat "$d/comm" 2> /dev/null)" = "$1" ] && kill "-$2" "${d#/proc/}"; done; true
"""
SHUT = """
nft add table inet mine; nft 'add chain inet mine in { type filter hook input priority 0; }'
nft add rule inet mine in udp dport "$1" counter drop
"""
BLACK_HOLE = """
ip link set vlan30 mtu 1300
nft add table inet mine; nft 'add chain inet mine out { type filter hook output priority 0; }'
nft add rule inet mine out icmp type destination-unreachable drop
"""
NO_BLACK_HOLE = "ip link set vlan30 mtu 1500; nft delete table inet mine"
BUFFER = """
f=/var/lib/vpnmesh/nebula/config/30-buffer.yml
printf 'listen: {read_buffer: %s}\\n' "$1" > "$f"; kill -HUP "$(cat /run/vpnmesh/nebula.pid)"
for i in $(seq 300); do ss -uanm | grep -Eq 'rb(4096|4608),' && exit 0; sleep 0.1; done
echo 'the buffer is as it was' >&2; exit 1
"""
"""A smaller receive buffer, once the daemon has it: it reads its configuration when it comes to it."""


@contextmanager
def ill(site: Site, node: str, make: str, heal: str, *arguments: str) -> Iterator[None]:
    """A node made ill by a script, and healed by another whatever happens."""
    try:
        said(site, node, make, *arguments)
        yield
    finally:
        said(site, node, heal, *arguments)


@contextmanager
def policy(site: Site, deployed: Provisioned, name: str) -> Iterator[None]:
    """A policy on the firewall, which has the pair relayed; the direct path is back when this ends."""
    firewall_policy(site, name)
    try:
        settled(site, deployed, Path.RELAY)
        yield
    finally:
        firewall_policy(site, "allow-all")
    settled(site, deployed, Path.DIRECT)


def settled(site: Site, deployed: Provisioned, path: Path) -> None:
    """Wait until both ends of the pair are on that path; what pods send makes daemons look for one."""
    pair, bed = site.testbed.pairs[0], site.testbed

    def look() -> set[Path | None]:
        address = str(pod_address(bed, bed.node(pair.server)))
        run_on(site.nr, [pair.client], tasks.ping_address, address=address, count=2, from_pod=True)
        said_by = mesh_statuses(site, deployed.solution, deployed.mesh)
        ends = ((pair.client, pair.server), (pair.server, pair.client))
        return {peer.path if (peer := said_by[name].peer(other)) else None for name, other in ends}

    assert wait_until(look, 120, 0.2, good=lambda seen: seen == {path}) == {path}


def asked(site: Site, deployed: Provisioned) -> Diagnosis:
    """The measured pair's diagnosis, shown as the command shows it."""
    found = why(site, deployed.solution, deployed.mesh, site.testbed.pairs[0])
    print("\n".join(lines(found)))
    return found


def one(found: Diagnosis, cause: Cause, where: str) -> Finding:
    """The finding of that cause at that place."""
    fitting = [each for each in found.findings if each.cause is cause and each.where == where]
    assert len(fitting) == 1, "\n".join(lines(found))
    return fitting[0]


def standing(site: Site, name: str) -> Iterator[Provisioned]:
    """A scenario for the tests of one class."""
    need(site, name)
    with provisioned(site, scenario_named(name)) as deployed:
        yield deployed


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command about the measured pair."""
    argv = (sys.executable, "-m", "workflows.why", "worker1", "worker2", *arguments)
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def tried() -> str:
    """What the command says that also tries what it found, of the mesh that stands; something was found."""
    done = call("--try")
    print(done.stdout)
    assert (done.returncode, done.stderr) == (1, ""), done.stderr
    return done.stdout


class TestWithARelay:
    """A mesh that has something to fall back to."""

    @pytest.fixture(scope="class")
    @classmethod
    def mesh(cls, site: Site) -> Iterator[Provisioned]:
        yield from standing(site, "headscale-direct")

    def test_a_healthy_mesh_has_no_finding(self, site: Site, mesh: Provisioned) -> None:
        """Nothing is found, on a machine however busy."""
        found = asked(site, mesh)
        assert found.findings == ()
        assert found.healthy

    def test_udp_that_the_firewall_blocks(self, site: Site, mesh: Provisioned) -> None:
        """It is relayed; both directions are named, and the rule that dropped the probes."""
        with policy(site, mesh, "block-udp"):
            found = asked(site, mesh)
        assert one(found, Cause.UDP, "worker1 to worker2").effect is Effect.RELAYED
        assert one(found, Cause.UDP, "worker2 to worker1").evidence[1].said == "no probe comes by"
        assert "udp drop' in inet vpnmesh" in one(found, Cause.RULE, "firewall").said

    def test_a_symmetric_nat(self, site: Site, mesh: Provisioned) -> None:
        """It is the NAT of each end, and not UDP as such."""
        with policy(site, mesh, "nat-symmetric"):
            found = asked(site, mesh)
        for end in ("worker1", "worker2"):
            assert one(found, Cause.NAT, end).effect is Effect.RELAYED
        assert not any(each.cause is Cause.UDP for each in found.findings)

    def test_a_stun_port_that_is_blocked(self, site: Site, mesh: Provisioned) -> None:
        """It listens, does not answer, and the rule on its own node is why."""
        with ill(site, "relay", SHUT, "nft delete table inet mine", "3478"):
            found = asked(site, mesh)
        told = one(found, Cause.STUN, "relay")
        assert (told.effect, told.evidence[0].said) == (Effect.LATER, "it listens")
        assert "rule 'udp dport 3478 drop' in inet mine in dropped" in one(found, Cause.RULE, "relay").said

    def test_a_clock_that_is_ahead(self, site: Site, mesh: Provisioned) -> None:
        """Nodes of a lab share their clock: here it is `date` that is two hours ahead."""
        heal = 'umount "$(readlink -f /bin/date)"; rm -f /run/real-date /run/fake-date'
        with ill(site, "worker2", FAKE_DATE, heal):
            found = asked(site, mesh)
        assert one(found, Cause.CLOCK, "worker2").said.startswith("its clock is 7200 s ahead")

    def test_a_relay_that_is_dead(self, site: Site, mesh: Provisioned) -> None:
        """Nothing is lost yet; trying to join once more starts it again."""
        said(site, "relay", SIGNALLED, "derper", "KILL")
        found = asked(site, mesh)
        told = one(found, Cause.RELAY, "relay")
        assert (told.effect, told.evidence[0].said) == (Effect.LATER, "nothing listens")
        assert one(found, Cause.DAEMON, "relay").said == "its service derper has ended"


class TestAStaticMesh:
    """One without any relay: what is ill is down or slow."""

    @pytest.fixture(scope="class")
    @classmethod
    def mesh(cls, site: Site) -> Iterator[Provisioned]:
        yield from standing(site, "wireguard-direct")

    def test_an_underlay_that_is_too_small_and_says_nothing(self, site: Site, mesh: Provisioned) -> None:
        """Large packets die at the interface that is named, and no ICMP message says so; a wider one would help."""
        with ill(site, "firewall", BLACK_HOLE, NO_BLACK_HOLE):
            told = tried()
            left = said(site, "firewall", "ip -o link show vlan30")
        assert "one of 1280 passes; firewall vlan30 has 1300, and no ICMP message says so" in told
        assert "gone:   mtu: worker1 to worker2" in told
        assert " mtu 1300 " in left

    def test_an_endpoint_in_another_overlay(self, site: Site, mesh: Provisioned) -> None:
        """The tunnel goes through another tunnel: the interface is named, and what the daemon tried."""
        key = {name: str(mesh.mesh.published_by(name, "public-key")) for name in ("worker1", "worker2")}
        bed = site.testbed
        endpoint = 'wg set vmwg0 peer "$1" endpoint "$2:51821"'
        at = {name: str(bed.node(name).underlay) for name in key}
        other = 'ip link add other0 type vxlan id 77 remote "$1" dstport 4790 dev eth0; ip address add "$2" dev other0'
        for name, peer, address in (
            ("worker1", "worker2", "172.31.0.1/24"),
            ("worker2", "worker1", "172.31.0.2/24"),
        ):
            said(site, name, f"{other}; ip link set other0 up", at[peer], address)
        try:
            # at both ends: WireGuard follows the address from which it is answered
            said(site, "worker2", endpoint, key["worker1"], "172.31.0.1")
            said(site, "worker1", endpoint, key["worker2"], "172.31.0.2")
            found = asked(site, mesh)
        finally:
            for name, peer in (("worker1", "worker2"), ("worker2", "worker1")):
                said(site, name, "ip link delete other0")
                said(site, name, endpoint, key[peer], at[peer])
        told = one(found, Cause.ENDPOINT, "worker1")
        assert told.said.startswith("sends to worker2 at 172.31.0.2, worker2's other0 (vxlan), and not at")
        assert told.evidence[0].said == "knows 172.31.0.2:51821; uses 172.31.0.2:51821"

    def test_segmentation_that_is_off(self, site: Site, mesh: Provisioned) -> None:
        """It works, with less."""
        with ill(site, "worker1", "ethtool -K eth0 tso off gso off", "ethtool -K eth0 gso on tso on"):
            found = asked(site, mesh)
        assert one(found, Cause.OFFLOAD, "worker1").effect is Effect.SLOW

    def test_a_daemon_that_gets_no_processor(self, site: Site, mesh: Provisioned) -> None:
        """At 1.5 % of a core it waits most of the time while packets are there, and what limits it is named.

        Where the machine is so busy that packets come one by one, that is enough for each: so it is asked again.
        """
        arguments = (f"vpnmesh-why-{id(site)}", "wireguard-go")
        with ill(site, "worker2", STARVED, FED, *arguments):
            for _ in range(3):
                found = asked(site, mesh)
                if any(each.cause is Cause.CPU for each in found.findings):
                    break
        told = one(found, Cause.CPU, "worker2")
        assert told.effect is Effect.SLOW
        assert "its control group allows 1.5 % of a core" in told.said

    def test_a_daemon_that_hangs(self, site: Site, mesh: Provisioned) -> None:
        """Its process is there, so only its state tells; it is let go on, and hangs again when that is taken back."""
        with ill(site, "worker2", SIGNALLED, SIGNALLED.replace('"-$2"', "-CONT"), "wireguard-go", "STOP"):
            told = tried()
            left = said(site, "worker2", "ps -o stat= -C wireguard-go")
        assert (
            "down      daemon: worker2: wireguard-go is there and does nothing: its process is in state T"
            in told
        )
        assert "gone:   daemon: worker2" in told
        assert left.startswith("T")

    def test_a_rule_on_a_node_is_found_and_tried_around(self, site: Site, mesh: Provisioned) -> None:
        """By the command, which asks what stands: with --try packets pass, and what it changed is taken back."""
        with ill(site, "worker2", SHUT, "nft delete table inet mine", "51821"):
            told = tried()
            left = said(site, "worker2", "nft list table inet mine")
        assert "firewall rule: worker2: rule 'udp dport 51821 drop' in inet mine in dropped" in told
        assert "gone:   firewall rule: worker2" in told
        assert "vpnmesh-why" not in left


class TestABuffer:
    """A daemon whose receive buffer can be chosen."""

    @pytest.fixture(scope="class")
    @classmethod
    def mesh(cls, site: Site) -> Iterator[Provisioned]:
        yield from standing(site, "nebula-direct")

    def test_a_receive_buffer_that_is_too_small(self, site: Site, mesh: Provisioned) -> None:
        """Two packets fit in: of 32 at once some are dropped, unless the daemon gets a processor for each of them."""
        said(site, "worker2", BUFFER, "2048")
        for _ in range(3):
            found = asked(site, mesh)
            if any(each.cause is Cause.BUFFER for each in found.findings):
                break
        told = one(found, Cause.BUFFER, "worker2")
        assert told.effect is Effect.SLOW
        assert (
            "its receive buffer is 4096 bytes" in told.said or "its receive buffer is 4608 bytes" in told.said
        )


def test_a_scenario_is_set_up_to_be_asked_about_and_removed_again(site: Site) -> None:
    """Healthy: exit code 0, nothing found, the one sentence on stderr; no lease, no interface and no file is left."""
    need(site, "wireguard-direct")
    before = footprint(site)
    done = call("--set-up", "--scenario", "wireguard-direct")
    print(done.stdout, done.stderr)
    assert (done.returncode, done.stderr) == (0, "setting up wireguard-direct\n")
    assert "worker1 reaches worker2 direct at" in done.stdout
    assert "nothing is wrong that packets or nodes would show" in done.stdout
    assert lease_holders(site) == {}
    assert footprint(site) == before


def test_a_run_asks_why_a_repetition_failed(site: Site, tmp_path: FilePath) -> None:
    """While the scenario stands: the journal has the rule beside the repetition that it cost, and asks only once."""
    need(site, "wireguard-direct")
    matrix = Matrix(site, tmp_path / "run", scenarios=("wireguard-direct",), tests=("idle",), repetitions=1)

    def shut() -> None:
        said(site, "worker2", SHUT, "51821")

    def heal() -> None:
        said(site, "worker2", "nft delete table inet mine 2> /dev/null; true")

    site.asks_why = True
    try:
        store = matrix.run({matrix.raw("idle", 1, "rtt-before.txt"): shut}, mend=heal)
    finally:
        site.asks_why = False
        heal()
    told = of_kind(store.events, PairDiagnosed)
    assert [one.scenario for one in told] == ["wireguard-direct"]
    first = told[0]
    assert (first.about, first.test, first.repetition) == ("path", "idle", 1)
    assert [one.where for one in first.findings if one.cause == "firewall rule"] == ["worker2"]
