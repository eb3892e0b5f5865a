"""The lab on real kernel objects: what nodes can and cannot do, and that the kernel takes everything away."""

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from tests.small_disk import mounts
from vpnmesh.errors import InputError
from vpnmesh.lab import lifecycle
from vpnmesh.lab.cgroups import plan_cgroups
from vpnmesh.lab.controller import link_exists
from vpnmesh.lab.directory import LabDirectory, NodeRecord
from vpnmesh.lab.errors import LabError
from vpnmesh.lab.init_process import InitProcess
from vpnmesh.lab.lifecycle import Lab, down, find, up
from vpnmesh.lab.processes import descendants, namespaces
from vpnmesh.lab.residue import Traces, await_gone, traces_of
from vpnmesh.lab.substrate import NEEDED, Substrate, examine
from vpnmesh.lab.topology import Step, Topology, build_steps, node_sysctls
from vpnmesh.lab.waiting import wait_until
from vpnmesh.model import Role, Testbed

pytestmark = pytest.mark.live

DEADLINE_S = 120.0
PROJECT = Path(__file__).parents[2]


def ssh(
    lab: Lab, node: str, *command: str, user: str = "", stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a command on a node as OpenSSH's client does, with strict host keys and nothing of the machine's."""
    address = {record.name: record.management for record in lab.record.nodes}[node]
    options = ("BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={lab.known_hosts}")
    argv = ("ssh", "-F", "none", "-i", str(lab.key_file), *(word for o in options for word in ("-o", o)))
    return subprocess.run(
        (*argv, f"{user or lab.user}@{address}", shlex.join(command)),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def said(lab: Lab, node: str, *command: str) -> str:
    """What a command that must succeed printed."""
    done = ssh(lab, node, *command)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def as_root(lab: Lab, node: str, script: str) -> str:
    """What a shell script printed that root ran on a node."""
    return said(lab, node, "sudo", "-n", "sh", "-ec", script)


def on_all(lab: Lab, script: str) -> dict[str, str]:
    """What a shell script printed on every node, all at once; `$SELF` is the node's management address."""

    def run(node: NodeRecord) -> tuple[str, str]:
        return node.name, said(lab, node.name, "env", f"SELF={node.management}", "sh", "-c", script)

    with ThreadPoolExecutor(len(lab.record.nodes)) as threads:
        return dict(threads.map(run, lab.record.nodes))


def names(testbed: Testbed) -> list[str]:
    return [node.name for node in testbed.nodes]


def inside(lab: Lab, *command: str) -> str:
    """What a command says in the lab's outer network, where the bridges are."""
    argv = ("nsenter", "--target", str(lab.init_pid), "--net", "--", *command)
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether something becomes true before the deadline."""
    return wait_until(condition, DEADLINE_S, 0.01)


def traces(lab: Lab) -> Traces:
    """All of a lab that must go when it goes."""
    found = traces_of((lab.record.starter, lab.record.init), ("vml0",), lab.directory)
    assert len(found.processes) > len(lab.record.nodes)
    return found


def links() -> str:
    return subprocess.run(("ip", "-o", "link"), capture_output=True, text=True, check=True).stdout


class TestNodes:
    """On the module's lab."""

    def test_every_node_takes_a_login_of_a_user_that_is_root_by_sudo(
        self, lab: Lab, testbed: Testbed
    ) -> None:
        """Six nodes, the key made for this lab, checked host keys, no password."""
        found = on_all(lab, "sudo -n hostname; sudo -n id -u; id -un")
        assert {node: f"{node}\n0\nmesh" for node in names(testbed)} == found

    def test_the_lab_user_is_nobody_on_the_machine(self, lab: Lab) -> None:
        """Neither by name nor by number."""
        uid = said(lab, "worker1", "id", "-u")
        passwd = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
        assert not [line for line in passwd if uid in line[2:4] or line[0] == "mesh"]

    def test_the_second_user_must_give_sudo_a_password(self, lab: Lab) -> None:
        """`sudo -n` is refused, a wrong password is refused, the lab's own is taken on stdin."""
        password = lab.password_file.read_text()
        user = lab.password_user
        assert ssh(lab, "worker1", "sudo", "-n", "id", user=user).returncode != 0
        wrong = ssh(lab, "worker1", "sudo", "-S", "-p", "", "id", "-u", user=user, stdin="wrong\n")
        assert wrong.returncode != 0
        right = ssh(lab, "worker1", "sudo", "-S", "-p", "", "id", "-u", user=user, stdin=f"{password}\n")
        assert right.stdout == "0\n"

    def test_another_host_key_is_refused(self, lab: Lab, tmp_path: Path) -> None:
        """Known hosts pin each node's own key: one node cannot stand in for another."""
        pinned = lab.known_hosts.read_text().splitlines()
        swapped = tmp_path / "known_hosts"
        swapped.write_text(f"{pinned[1].split()[0]} {' '.join(pinned[0].split()[1:])}\n")
        options = ("BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={swapped}")
        argv = ("ssh", "-F", "none", "-i", str(lab.key_file), *(w for o in options for w in ("-o", o)))
        done = subprocess.run(
            (*argv, f"mesh@{pinned[1].split()[0]}", "true"), capture_output=True, text=True, check=False
        )
        assert done.returncode == 255
        assert "Host key verification failed" in done.stderr

    def test_every_pair_meets_through_the_firewall(self, lab: Lab, testbed: Testbed) -> None:
        """One hop on the way: the time to live arrives as 63."""
        nodes = [node for node in testbed.nodes if Role.FIREWALL not in node.roles]
        targets = " ".join(str(node.underlay) for node in nodes)
        found = on_all(lab, f"for to in {targets}; do ping -n -c 1 -W 5 $to | grep -o 'ttl=[0-9]*'; done")
        for index, node in enumerate(nodes):
            expected = ["ttl=63"] * len(nodes)
            expected[index] = "ttl=64"  # itself
            assert expected == found[node.name].split()

    def test_no_packet_goes_from_node_to_node_over_management(self, lab: Lab, testbed: Testbed) -> None:
        """Where the controller reaches all, no node reaches any."""
        check_isolation(lab, testbed)

    def test_the_way_out_does_not_exist(self, lab: Lab, testbed: Testbed) -> None:
        """No default route of either family, and no route at all to an outside address."""
        script = "ip route show default; ip -6 route show default; ip route get 203.0.113.1 2>&1 || true"
        expected = dict.fromkeys(names(testbed), "RTNETLINK answers: Network is unreachable")
        assert expected == on_all(lab, script)

    def test_the_lab_itself_forwards_nothing(self, lab: Lab) -> None:
        """Outside of the nodes there are bridges only: no address, no forwarding."""
        assert inside(lab, "cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"
        addresses = json.loads(inside(lab, "ip", "-json", "addr"))
        carrying = {link["ifname"] for link in addresses if link["addr_info"]}
        assert {"lo"} == carrying
        # nor does the controller's end, on a machine that forwards
        assert Path("/proc/sys/net/ipv4/conf/vml0/forwarding").read_text() == "0\n"

    def test_only_the_firewall_forwards_and_never_from_management(self, lab: Lab, testbed: Testbed) -> None:
        """As its settings say, read on the node."""
        script = "cd /proc/sys/net/ipv4; cat ip_forward conf/mgmt0/forwarding conf/all/rp_filter"
        found = {node: text.split() for node, text in on_all(lab, script).items()}
        expected = {node: ["1" if node == "firewall" else "0", "0", "0"] for node in names(testbed)}
        assert expected == found

    def test_the_underlay_is_ipv4_alone(self, lab: Lab, testbed: Testbed) -> None:
        """No port has an IPv6 address, link-local ones included."""
        assert dict.fromkeys(names(testbed), "") == on_all(lab, "ip -6 -o addr show up scope link")

    def test_ports_are_shaped_on_the_bridge_and_free_on_the_node(self, lab: Lab, testbed: Testbed) -> None:
        """Every VLAN port at 1 Gbit/s towards the node; no management port, and nothing on the node's own side."""
        shaped = [line.split() for line in inside(lab, "tc", "qdisc").splitlines() if " tbf " in line]
        ports = sum(len(node.legs) for node in testbed.nodes)
        assert ports == len(shaped)
        assert {"1Gbit"} == {line[line.index("rate") + 1] for line in shaped}
        assert not [line for line in shaped if "mgmt" in line[4] or line[4] == "uplink"]
        assert as_root(lab, "worker1", "tc qdisc show dev eth0") == "qdisc noqueue 0: root refcnt 2"

    def test_each_node_has_namespaces_of_its_own(self, lab: Lab, testbed: Testbed) -> None:
        """Four for each, shared with no other node and not with the machine."""
        found = [namespaces(lab.node_pid(node)) for node in names(testbed)]
        found.append(namespaces(os.getpid()))
        assert all(len(one) == 4 for one in found)
        assert not [pair for pair in permutations(found, 2) if pair[0] & pair[1]]

    def test_a_node_sees_its_own_processes_and_links_only(self, lab: Lab) -> None:
        """tini is its PID 1, and /sys is of its own network."""
        script = "cat /proc/1/comm; ls /sys/class/net; ls -d /proc/[0-9]* | wc -l"
        first, *rest = as_root(lab, "worker1", script).split()
        assert first == "tini"
        assert rest[:-1] == ["eth0", "lo", "mgmt0"]
        assert int(rest[-1]) < 15

    def test_what_a_node_writes_stays_in_that_node(self, lab: Lab) -> None:
        """Neither the machine nor another node sees it, wherever VPNs write."""
        folders = (
            *("/run", "/etc", "/etc/wireguard", "/etc/nebula", "/etc/netbird", "/etc/systemd/system"),
            *("/root", "/home/mesh", "/tmp", "/var/log", "/var/cache", "/dev/shm", "/usr/local/bin", "/opt"),
            *("/var/lib/vpnmesh", "/var/lib/tailscale", "/var/lib/netbird", "/var/lib/zerotier-one"),
        )
        mark = f"vpnmesh-live-{os.getpid()}"
        made = [folder for folder in folders if not Path(folder).exists()]
        as_root(lab, "worker1", f"for d in {' '.join(folders)}; do mkdir -p $d; echo x > $d/{mark}; done")
        seen = as_root(lab, "worker1", f"ls {' '.join(f'{folder}/{mark}' for folder in folders)}").split()
        assert len(folders) == len(seen)
        assert (
            as_root(lab, "worker2", f"ls -d {' '.join(f'{f}/{mark}' for f in folders)} 2>/dev/null || true")
            == ""
        )
        assert not [folder for folder in folders if Path(folder, mark).exists()]
        assert not [folder for folder in made if Path(folder).exists()]

    @pytest.mark.parametrize("folder", ["/usr/bin", "/var/spool", "/srv", "/boot", str(PROJECT), "/"])
    def test_a_node_cannot_write_what_is_the_machines(self, lab: Lab, folder: str) -> None:
        """Not even as root: the file system is read-only there."""
        done = ssh(lab, "worker1", "sudo", "-n", "touch", f"{folder}/vpnmesh-live-x")
        hidden = folder.startswith(("/root", "/home", "/tmp"))
        assert hidden or "Read-only file system" in done.stderr
        assert not Path(folder, "vpnmesh-live-x").exists()

    def test_a_node_sees_no_secret_of_the_machine(self, lab: Lab) -> None:
        """No password hash, no host key, no state of the machine's own VPNs or packages."""
        shadow = as_root(lab, "worker1", "cut -d: -f1,2 /etc/shadow").split()
        assert not [line for line in shadow if not line.endswith(":*") and not line.startswith("meshpw:$6$")]
        keys = as_root(lab, "worker1", "ls /etc/ssh").split()
        assert keys == ["authorized_keys.d", "ssh_host_ed25519_key", "sshd_config"]
        assert {"dpkg"} >= set(as_root(lab, "relay", "ls /var/lib").split())

    def test_nothing_on_a_node_ignores_a_signal(self, lab: Lab) -> None:
        """Python ignores SIGPIPE; what it starts must not, or pipes in tasks end otherwise than on real machines."""
        found = as_root(lab, "worker1", "grep -h SigIgn /proc/1/status /proc/self/status")
        ignored = [int(line.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) for line in found.splitlines()]
        assert ignored == [0, 0]

    def test_an_orphaned_daemon_is_reaped(self, lab: Lab) -> None:
        """Its parent gone, tini takes it over, and leaves no zombie when it ends."""
        start = "setsid sh -c 'echo $$ > /tmp/orphan; exec sleep 600' >/dev/null 2>&1 </dev/null"
        wait = "until [ -s /tmp/orphan ]; do sleep 0.05; done"
        pid = said(lab, "relay", "sh", "-c", f"({start} &); {wait}; cat /tmp/orphan").strip()
        assert said(lab, "relay", "ps", "-o", "ppid=", "-p", pid).split() == ["1"]
        said(lab, "relay", "sh", "-c", f"kill {pid}; rm /tmp/orphan")
        assert eventually(lambda: said(lab, "relay", "sh", "-c", f"ps -o stat= -p {pid} || true") == "")

    def test_a_second_up_changes_nothing(self, lab: Lab, testbed: Testbed) -> None:
        """The same init, the same keys; the handle it gives does not own the lab."""
        again = up(testbed)
        assert lab.record == again.record
        assert again.close() == ()
        assert find() is not None

    def test_up_with_other_options_is_one_sentence(self, lab: Lab, testbed: Testbed) -> None:
        """It says what differs and how to go on; the lab that is up is not touched."""
        with pytest.raises(InputError) as caught:
            up(testbed, port_rate_mbit_s=None)
        expected = "with other port rate (1000 Mbit/s, asked for unshaped); take it down first"
        assert expected in str(caught.value)
        fewer = replace(testbed, nodes=testbed.nodes[1:])
        with pytest.raises(InputError, match="with other nodes, VLANs or addresses"):
            up(fewer)

    def test_a_lab_in_another_directory_finds_the_addresses_taken(
        self, lab: Lab, testbed: Testbed, tmp_path: Path
    ) -> None:
        """One sentence, nothing made."""
        with pytest.raises(InputError, match="interface vml0 is in use"):
            up(testbed, directory=tmp_path / "second")
        assert list(tmp_path.iterdir()) == []

    def test_the_directory_is_private(self, lab: Lab) -> None:
        """0700, with every secret 0600, and the build spec with the host keys gone."""
        assert lab.directory.stat().st_mode & 0o777 == 0o700
        for secret in (lab.key_file, lab.password_file, lab.known_hosts, lab.directory / "lab.json"):
            assert secret.stat().st_mode & 0o777 == 0o600
        assert not (lab.directory / "build-spec.json").exists()

    def test_every_step_has_its_cost(self, lab: Lab) -> None:
        """The steps of `up` in order, none missing."""
        steps = [timing.step for timing in lab.timings]
        assert steps[:2] == ["checks", "keys"]
        assert steps[-1] == "ssh answers"
        assert {"namespaces", "management network", "vlans", "addresses and routes", "nodes"} < set(steps)


def check_isolation(lab: Lab, testbed: Testbed) -> None:
    """Controller to all nodes: answered. Node to node: not one packet arrives."""
    for node in testbed.nodes:
        subprocess.run(("ping", "-n", "-c", "1", "-W", "5", node.management), check=True, capture_output=True)
    targets = " ".join(node.management for node in testbed.nodes)
    ask = "ping -n -c 2 -i 0.2 -W 0.5 $to >/dev/null && echo $to"
    script = f"for to in {targets}; do [ $to = $SELF ] || ({ask}) & done; wait"
    assert dict.fromkeys(names(testbed), "") == on_all(lab, script)


def test_a_kernel_without_port_isolation_isolates_by_rule(
    place: Path, testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same promise with an nft rule on the bridge."""

    def lacking(names: frozenset[str]) -> Substrate:
        found = examine(names)
        capabilities = tuple(
            replace(one, available=one.available and one.name != "port-isolation")
            for one in found.capabilities
        )
        return replace(found, capabilities=capabilities)

    monkeypatch.setattr(lifecycle, "examine", lacking)
    with up(testbed, owned=True) as lab:
        assert "isolated on" not in inside(lab, "bridge", "-d", "link")
        check_isolation(lab, testbed)


def test_down_leaves_the_machine_as_it_was(place: Path, testbed: Testbed) -> None:
    """Links and mounts equal those before, every process of the lab is gone, and so is the directory."""
    before = links(), mounts()
    lab = up(testbed)
    made = traces(lab)
    assert before[0] != links()
    assert before[1] == mounts()
    assert down() == ()
    assert before == (links(), mounts())
    assert not [one for one in made.processes if one.alive]
    assert not place.exists()
    assert find() is None
    assert down() == ()


@pytest.mark.parametrize("victim", ["init", "starter"])
def test_kill_9_of_the_init_leaves_nothing(place: Path, testbed: Testbed, victim: str) -> None:
    """No process, no namespace, no link; the directory stays until the next up, which does not mind."""
    before = links(), mounts()
    lab = up(testbed)
    made = traces(lab)
    os.kill(getattr(lab.record, victim).pid, signal.SIGKILL)
    assert await_gone(made, DEADLINE_S) == ()
    assert before == (links(), mounts())
    assert [place] == list(place.parent.iterdir())
    assert find() is None
    again = up(testbed)
    assert lab.record.init != again.record.init
    assert said(again, "relay", "hostname") == "relay"
    assert down() == ()


@pytest.mark.parametrize("first", ["up", "down"])
def test_the_link_of_a_killed_lab_may_stay_for_some_time(place: Path, testbed: Testbed, first: str) -> None:
    """The kernel takes it away when it comes to it: down waits for that, and so does the next up."""
    LabDirectory(place).make()
    subprocess.run(("ip", "link", "add", "vml0", "type", "veth", "peer", "name", "end"), check=True)
    with subprocess.Popen(("sh", "-c", "sleep 1; ip link del vml0")) as kernel:
        if first == "down":
            assert down() == ()
            assert "vml0" not in links()
        with up(testbed, owned=True) as lab:
            assert said(lab, "relay", "hostname") == "relay"
        assert kernel.wait() == 0


def test_a_node_that_dies_is_shown_and_takes_nobody_along(place: Path, testbed: Testbed) -> None:
    """Its record says dead, the others answer."""
    with up(testbed, owned=True) as lab:
        dead = next(node for node in lab.record.nodes if node.name == "relay")
        os.kill(dead.first.pid, signal.SIGKILL)
        assert eventually(lambda: not dead.first.alive)
        assert [node.name for node in lab.record.nodes if not node.first.alive] == ["relay"]
        assert said(lab, "worker1", "hostname") == "worker1"
        with pytest.raises(InputError, match="a lab is up, but not its relay; take it down first"):
            up(testbed)


def test_a_lab_of_another_network_is_no_use_here(
    place: Path, testbed: Testbed, private_network: Callable[[], AbstractContextManager[None]]
) -> None:
    """Same directory, but the link is elsewhere: one sentence instead of six timeouts; `down` works from here."""
    up(testbed)
    with private_network():
        with pytest.raises(InputError, match="belongs to another network namespace"):
            up(testbed)
        assert down() == ()
    assert eventually(lambda: not link_exists("vml0"))


OWNER = """
    import os, sys, time
    from pathlib import Path
    from vpnmesh.lab.inventory_files import read_testbed
    from vpnmesh.lab.lifecycle import up
    def stop_at(step, seconds):
        if step == sys.argv[3]:
            print("reached", flush=True)
            time.sleep(600)
    testbed, how = read_testbed(Path(sys.argv[1])), sys.argv[2]
    lab = up(testbed, owned=how == "owned", kubernetes=how == "containers", progress=stop_at)
    if os.fork() == 0:  # a child that holds every descriptor must not hold the lab
        time.sleep(30)
        os._exit(0)
    print("up", flush=True)
    time.sleep(600)
"""


def owner(*arguments: str) -> "subprocess.Popen[str]":
    """A process of its own that brings up a lab, and has said how far it got."""
    argv = (sys.executable, "-c", textwrap.dedent(OWNER), str(PROJECT / "inventory" / "lab"), *arguments)
    started = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=PROJECT, start_new_session=True)
    assert started.stdout
    assert started.stdout.readline() == ("reached\n" if arguments[1] else "up\n")
    return started


def test_kill_9_of_the_owner_takes_the_lab_along(place: Path, testbed: Testbed) -> None:
    """Also while a forked child of it lives on."""
    before = links(), mounts()
    with owner("owned", "") as creator:
        try:
            lab = find()
            assert lab
            assert creator.pid == lab.record.owner_pid
            made = traces(lab)
            creator.kill()
            assert await_gone(made, DEADLINE_S) == ()
        finally:
            os.killpg(creator.pid, signal.SIGKILL)  # the forked child that held every descriptor
    assert before == (links(), mounts())
    assert find() is None
    assert down() == ()
    assert not place.exists()


@pytest.mark.parametrize("step", ["keys", "controller's link", "nodes", "ssh answers"])
def test_kill_9_in_the_middle_of_up_leaves_nothing(place: Path, testbed: Testbed, step: str) -> None:
    """Whatever had been built goes, though the lab was to stay up; the next up cleans the directory."""
    before = links(), mounts()
    with owner("detached", step) as creator:
        made = Traces(descendants(creator.pid), ("vml0",), place, plan_cgroups(place))
        creator.kill()
    assert await_gone(made, DEADLINE_S) == ()
    assert before == (links(), mounts())
    assert find() is None
    up(testbed)
    assert down() == ()


def test_a_detached_lab_outlives_its_creator(place: Path, testbed: Testbed) -> None:
    """`lab up` ends, the lab stays up."""
    with owner("detached", "") as creator:
        os.killpg(creator.pid, signal.SIGKILL)
    lab = find()
    assert lab
    assert said(lab, "worker2", "hostname") == "worker2"
    assert down() == ()


def test_ctrl_c_in_the_middle_of_up_leaves_nothing(place: Path, testbed: Testbed) -> None:
    """Not even the directory."""
    before = links(), mounts()

    def interrupt(step: str, _seconds: float) -> None:
        if step == "vlans":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        up(testbed, progress=interrupt)
    assert before == (links(), mounts())
    assert not place.exists()


def test_a_step_that_fails_is_named_and_leaves_nothing(
    place: Path, testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step, the command of its batch, and what it said."""
    before = links(), mounts()

    def broken(topology: Topology, *, port_isolation: bool) -> tuple[Step, ...]:
        bad = Step(
            "a bad idea", (("ip", "link", "set", "lo", "up"), ("ip", "link", "add", "x", "type", "no-such"))
        )
        return (*build_steps(topology, port_isolation=port_isolation), bad)

    monkeypatch.setattr(lifecycle, "build_steps", broken)
    with pytest.raises(LabError) as caught:
        up(testbed)
    assert caught.value.step == "a bad idea"
    assert "failed: ip link add x type no-such: exit 1" in str(caught.value)
    assert before == (links(), mounts())
    assert not place.exists()


def test_a_node_that_cannot_start_is_named(
    place: Path, testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here its interface's settings cannot be written."""
    settings = node_sysctls

    def bad(topology: Topology, node: str) -> tuple[tuple[str, str], ...]:
        return (*settings(topology, node), *([("net/ipv4/ip_forward", "many")] if node == "relay" else []))

    monkeypatch.setattr(lifecycle, "node_sysctls", bad)
    with pytest.raises(LabError) as caught:
        up(testbed)
    assert caught.value.step == "node relay"
    assert not place.exists()
    assert not link_exists("vml0")


def test_a_foreign_process_with_the_recorded_id_lives_on(place: Path, testbed: Testbed) -> None:
    """A record that outlived its lab names an id that somebody else has now: only the directory goes."""
    lab = up(testbed)
    record = lab.record
    assert down() == ()
    with subprocess.Popen(("sleep", "600")) as innocent:
        directory = LabDirectory(place)
        directory.make()
        stale = replace(record.init, pid=innocent.pid)
        directory.write(replace(record, init=stale, starter=replace(record.starter, pid=innocent.pid)))
        try:
            assert find() is None
            assert down() == ()
            assert innocent.poll() is None
        finally:
            innocent.kill()
    assert not place.exists()


@pytest.mark.parametrize(
    ("commands", "sentence"),
    [
        (
            ("ip link add other type veth peer name end", "ip addr add 198.18.213.77/28 dev other"),
            "198.18.213.0/24 is in use: 198.18.213.77 on other",
        ),
        (
            (
                "ip link add other type veth peer name end",
                "ip link set other up",
                "ip link set end up",
                "ip route add 198.18.213.128/25 dev other",
            ),
            "198.18.213.0/24 is in use: route to 198.18.213.128/25 by other",
        ),
        (("ip link add vml0 type veth peer name end",), "interface vml0 is in use"),
    ],
)
def test_what_is_in_use_is_one_sentence(
    place: Path, testbed: Testbed, commands: tuple[str, ...], sentence: str
) -> None:
    """Refused before anything is touched."""
    for command in commands:
        subprocess.run(command.split(), check=True)
    ends_at = time.monotonic() + 60
    while "LOWERLAYERDOWN" in links():
        # a busy kernel tells an end of its peer's carrier only after a while
        assert time.monotonic() < ends_at
        time.sleep(0.05)
    before = links(), mounts()
    with pytest.raises(InputError) as caught:
        up(testbed)
    assert sentence in str(caught.value)
    assert before == (links(), mounts())
    assert not place.exists()


def test_two_ups_at_once_make_one_lab(place: Path, testbed: Testbed) -> None:
    """The second waits for the first, and finds its lab."""
    labs: list[Lab] = []
    network = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
    assert Path(network).exists()
    both = [threading.Thread(target=lambda: labs.append(up(testbed))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(labs) == 2
    assert labs[0].record == labs[1].record
    assert down() == ()


def test_closing_a_lab_spares_the_one_that_came_after_it(place: Path, testbed: Testbed) -> None:
    """A handle ends its own lab only."""
    first = up(testbed, owned=True)
    os.kill(first.init_pid, signal.SIGKILL)
    assert await_gone(traces_of((first.record.starter,), ("vml0",), place), DEADLINE_S) == ()
    second = up(testbed, owned=True)
    assert first.close() == ()
    found = find()
    assert found
    assert second.record == found.record
    assert second.close() == ()
    assert find() is None


def test_an_init_that_says_nothing_is_an_error(place: Path) -> None:
    """A directory without a build spec: the init ends, and its last words are told."""
    directory = LabDirectory(place)
    directory.make()
    birth = InitProcess(directory)
    birth.say("build")
    with pytest.raises(LabError, match=r"build-spec\.json"):
        birth.read()
    birth.close()
    os.waitpid(birth.starter.pid, 0)


def test_probing_leaves_nothing(root: None) -> None:
    """Links, mounts and children are those before; what up needs is among what is probed."""
    before = links(), mounts(), len(descendants(os.getpid()))
    found = examine()
    assert before == (links(), mounts(), len(descendants(os.getpid())))
    assert {one.name for one in found.capabilities} >= NEEDED
    assert all(one.detail for one in found.capabilities)


def lab_command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    argv = (sys.executable, "-m", "vpnmesh.lab", *arguments)
    return subprocess.run(argv, capture_output=True, text=True, cwd=PROJECT, timeout=120, check=False)


def test_the_command_line_from_up_to_down(place: Path) -> None:
    """Each verb does what its help says, with its exit code."""
    assert lab_command("status").returncode == 3
    assert lab_command("shell", "worker1", "true").returncode == 3
    made = lab_command("up", "--port-rate", "100")
    assert (made.returncode, made.stderr) == (0, "")
    assert "lab 'lab' is up, 6 nodes" in made.stdout
    again = lab_command("up", "--port-rate", "100")
    assert f"the lab is up already, in {place}\n" == again.stdout
    other = lab_command("up")
    assert (other.returncode, len(other.stderr.splitlines())) == (2, 1)
    shown = lab_command("status")
    assert shown.returncode == 0
    assert all(word in shown.stdout for word in ("ports at 100 Mbit/s", "198.18.213.16", "port-isolation"))
    inner = lab_command("shell", "worker2", "--", "sh", "-c", "hostname; id -u; pwd; ls -A; exit 7")
    assert (inner.returncode, inner.stdout) == (7, "worker2\n0\n/root\n")
    unknown = lab_command("shell", "worker9")
    assert (unknown.returncode, len(unknown.stderr.splitlines())) == (2, 1)
    ended = lab_command("down")
    assert (ended.returncode, ended.stdout) == (0, "the lab is down, nothing is left\n")
    assert lab_command("down").stdout == "no lab was up\n"
