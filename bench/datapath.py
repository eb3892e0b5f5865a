"""Pod-to-pod throughput in the lab, unshaped, against a bare VXLAN pair between two namespaces.

Both by iperf3 with the same arguments, in turns. The bare pair is a veth with a VXLAN device on each end; the lab's
packets cross pod veths, two bridges and the firewall's rules besides.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from statistics import median

from rich.console import Console

import tasks
from bench.figures import Figure, Size, spread
from bench.sandbox import lab_site
from vpnmesh.errors import ToolError
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.protocol import Question, Settings
from vpnmesh.model import Condition
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.tools import iperf3
from workflows.run.hosts import run_on
from workflows.run.provision import provisioned
from workflows.run.site import Site

TRANSPORTS: tuple[iperf3.Transport, ...] = ("tcp", "udp")
ADDRESSES = (IPv4Address("10.99.0.1"), IPv4Address("10.99.0.2"))
_FLAGS = ("--net", "--mount", "--fork", "--kill-child")


def pair_script() -> str:
    """Two namespaces, one veth between them, MTU 1450 over VXLAN as Calico's, without learning."""
    lines = [
        "set -e; mount -t tmpfs none /run; mkdir /run/netns; ip netns add a; ip netns add b",
        "ip link add u0 netns a type veth peer name u0 netns b",
    ]
    vxlan = "id 4096 dstport 4789 nolearning"
    for index, name in enumerate("ab"):
        own, other = (f"192.88.99.{1 + (index + flip) % 2}" for flip in (0, 1))
        macs = [f"66:00:00:00:00:0{1 + (index + flip) % 2}" for flip in (0, 1)]
        lines += [
            f"ip -n {name} link set lo up; ip -n {name} addr add {own}/29 dev u0; ip -n {name} link set u0 up",
            f"ip -n {name} link add vx0 address {macs[0]} mtu 1450 type vxlan {vxlan} local {own} dev u0",
            f"ip -n {name} addr add {ADDRESSES[index]}/24 dev vx0; ip -n {name} link set vx0 up",
            f"bridge -n {name} fdb replace {macs[1]} dev vx0 dst {other}",
            f"ip -n {name} neigh replace {ADDRESSES[1 - index]} lladdr {macs[1]} dev vx0 nud permanent",
        ]
    return "\n".join([*lines, "echo up; exec sleep 900"])


@contextmanager
def bare_pair() -> Iterator[tuple[str, ...]]:
    """The argv prefix that enters the namespaces' mount namespace while they exist."""
    argv = ("unshare", *_FLAGS, "sh", "-c", pair_script())
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            if holder.stdout.readline() != "up\n":
                raise OSError("the bare VXLAN pair did not come up")
            # unshare --fork: its one child holds the new mount namespace as it does
            yield ("nsenter", "-t", str(holder.pid), "-m", "-n", "--")
        finally:
            holder.kill()


def bare_rate(inside: Sequence[str], tool: iperf3.Iperf3, test: iperf3.Transport) -> float:
    """Mbit/s at the receiver."""
    argv = (*inside, "ip", "netns", "exec")
    serve = (*argv, "b", *tool.server(ADDRESSES[1]))
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        while iperf3.LISTENING not in (line := server.stdout.readline()):
            if not line:
                raise ToolError("iperf3", "the bare pair's server ended early")
        ask = (*argv, "a", *tool.client(test, ADDRESSES[1]))
        limit_s = tool.limit_s(Condition())
        done = subprocess.run(ask, capture_output=True, text=True, timeout=limit_s, check=False)
        server.kill()  # ended with its one client, unless that failed
    return iperf3.parse(done.stdout, test).get("rate_mbit_s") or 0.0


def pod_rate(site: Site, duration_s: int, test: iperf3.Transport) -> float:
    """Mbit/s at the receiver, by the very task that the matrix uses."""
    bed, measurement = site.testbed, measurement_named(test)
    question = Question(bed, bed.pairs[0], settings=Settings(duration_s, steady=False))
    parameters = {"measurement": measurement, "question": question, "others": site.nr.inventory.hosts}
    done = run_on(site.nr, [bed.client.name], tasks.measure, **parameters)
    return measurement.parse(done[bed.client.name].result, question).get("rate_mbit_s") or 0.0


def run(console: Console, size: Size) -> list[Figure]:
    """Both sides' medians and their ratio."""
    rounds, tool = size.of(3, 1), iperf3.Iperf3(duration_s=size.of(4, 1))
    rates: dict[tuple[str, str], list[float]] = {}
    with bare_pair() as inside, lab_site(None) as site, provisioned(site, scenario_named("native-1450")):
        for number in range(rounds):
            for test in TRANSPORTS:
                console.print(f"datapath: {test} {number + 1} of {rounds}", style="dim", highlight=False)
                rates.setdefault((test, "bare"), []).append(bare_rate(inside, tool, test))
                rates.setdefault((test, "pods"), []).append(pod_rate(site, tool.duration_s, test))
    return [_figure(test, rates[test, "pods"], rates[test, "bare"]) for test in TRANSPORTS]


def _figure(test: iperf3.Transport, pods: Sequence[float], bare: Sequence[float]) -> Figure:
    return Figure(
        f"native-1450 unshaped, {test}",
        f"{spread(pods, 0)} Mbit/s pod to pod",
        f"{spread(bare, 0)} Mbit/s bare VXLAN pair",
        f"{median(pods) / median(bare):.2f}",
    )
