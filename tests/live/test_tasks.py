"""Changing tasks on real nodes: dry run touches nothing, the second run changes nothing, undoing leaves nothing."""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from nornir.core import Nornir
from nornir.core.filter import F
from nornir.core.task import Result
from nornir_utils.plugins.functions import print_result

import tasks
from inventory.load import load
from tasks.connection import shell
from tests.live.conftest import INVENTORY as LAB_INVENTORY
from tests.measurements import walk_through
from vpnmesh.errors import CommandError, NodeUnreachableError, UnavailableError
from vpnmesh.firewall.policy import policy_named
from vpnmesh.host.pods import pod_network
from vpnmesh.host.service import Service, running
from vpnmesh.impairment.engine import impairment_for
from vpnmesh.lab.lifecycle import Lab
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.protocol import Question
from vpnmesh.model import Condition, Place, Placement, Testbed
from vpnmesh.study.scenarios import scenario_named
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.impair import choose_engine, impaired
from workflows.run.provision import provisioned
from workflows.run.site import Site

pytestmark = pytest.mark.live


@pytest.fixture
def nr(lab: Lab) -> Nornir:
    """Nornir on the lab, logged in as the normal user."""
    assert lab.user != "root"
    return load("lab")[0]


def said(nr: Nornir, host: str, *argv: str) -> str:
    """What a command says on a host."""
    return str(run_on(nr, [host], tasks.run_command, argv=argv)[host].result)


def links(nr: Nornir, host: str) -> str:
    """The host's interfaces, routes and namespaces."""
    return said(
        nr, host, "sh", "-c", "ip -br link; ip route; ip netns; bridge fdb show; tc qdisc; nft list ruleset"
    )


def _pods(bed: Testbed) -> dict[str, Any]:
    over = {node.name: (node.leg.interface, node.underlay) for node in bed.k8s}
    return {"network": pod_network(bed, 1450, over), "testbed": bed}


Change = tuple[Callable[..., Result], dict[str, Any], Callable[..., Result], dict[str, Any]]


def _cases(bed: Testbed) -> dict[str, tuple[str, Change]]:
    """Host, and a task with its parameters, and the one that undoes it."""
    allow, block = policy_named("allow-all"), policy_named("block-udp-k8s")
    policy = tasks.set_firewall_policy
    return {
        "firewall": (
            bed.firewall.name,
            (policy, {"policy": block, "testbed": bed}, policy, {"policy": allow, "testbed": bed}),
        ),
        "pods": (bed.client.name, (tasks.attach_pods, _pods(bed), tasks.detach_pods, {})),
    }


@pytest.mark.parametrize("case", ["firewall", "pods"])
def test_a_change_is_dry_then_made_then_made_already_then_undone(case: str, nr: Nornir, bed: Testbed) -> None:
    """Dry run: changed and diff, nothing touched. Apply. Again: unchanged. Undo: as before."""
    host, (make, parameters, undo, undo_parameters) = _cases(bed)[case]
    before = links(nr, host)
    dry = run_on(nr, [host], make, dry_run=True, **parameters)[host]
    assert (True, before) == (dry.changed, links(nr, host))
    assert "+" in dry.diff
    made = run_on(nr, [host], make, **parameters)[host]
    assert (True, dry.diff) == (made.changed, made.diff)
    assert before != links(nr, host)
    again = run_on(nr, [host], make, **parameters)[host]
    assert (again.changed, again.diff) == (False, "")
    assert run_on(nr, [host], undo, **undo_parameters)[host].changed is True
    assert run_on(nr, [host], undo, **undo_parameters)[host].changed is False
    assert sorted(before.split()) == sorted(links(nr, host).split())


def test_sysctls_are_set_and_set_back(nr: Nornir, bed: Testbed) -> None:
    """The result has the values before; keys that this kernel locks are no change and no failure."""
    host = bed.client.name
    key = "net.ipv4.tcp_mtu_probing"
    first = run_on(nr, [host], tasks.set_sysctls, values={key: "2", "net.core.nothing_like_this": "1"})[host]
    assert first.changed is True
    assert said(nr, host, "sysctl", "-n", key).strip() == "2"
    assert run_on(nr, [host], tasks.set_sysctls, values={key: "2"})[host].changed is False
    run_on(nr, [host], tasks.set_sysctls, values=first.result)
    assert first.result[key] == said(nr, host, "sysctl", "-n", key).strip()


@pytest.mark.parametrize("place", [Place.UNDERLAY, Place.VLAN_PAIR])
def test_an_impairment_is_set_read_back_and_lifted(place: Place, nr: Nornir, bed: Testbed) -> None:
    """What the kernel holds is what was asked; a second set changes nothing; clearing leaves no trace."""
    engine = choose_engine(Site(nr, bed))
    (target,) = engine.targets(bed, bed.pairs[0], Placement(place))
    host = target.node
    wanted = impairment_for(Condition(loss_pct=5, delay_ms=50), Placement(place))
    parameters = {"engine": engine, "target": target, "impairment": wanted}
    before = said(
        nr, host, "sh", "-c", "tc qdisc; iptables-save; ls /run/vpnmesh 2>/dev/null; ps -e -o comm= | sort -u"
    )
    assert run_on(nr, [host], tasks.set_impairment, dry_run=True, **parameters)[host].changed is True
    assert run_on(nr, [host], tasks.set_impairment, **parameters)[host].changed is True
    assert run_on(nr, [host], tasks.set_impairment, **parameters)[host].changed is False
    held = run_on(nr, [host], tasks.read_impairment, engine=engine, target=target)[host].result
    assert wanted.condition == held.condition
    clear = {"engine": engine, "targets": (target,)}
    assert run_on(nr, [host], tasks.clear_impairment, **clear)[host].changed is True
    assert run_on(nr, [host], tasks.clear_impairment, **clear)[host].changed is False
    after = said(
        nr, host, "sh", "-c", "tc qdisc; iptables-save; ls /run/vpnmesh 2>/dev/null; ps -e -o comm= | sort -u"
    )
    # iptables-save shows its empty built-in chains once they were used
    assert [x for x in before.splitlines() if "vpnmesh" in x] == [
        x for x in after.splitlines() if "vpnmesh" in x
    ]
    assert "NFQUEUE" not in after
    assert "netem" not in after


def test_a_service_is_found_replaced_and_stopped(nr: Nornir, bed: Testbed) -> None:
    """A daemon that runs with other arguments is not "already so"; one that was killed is started again."""

    def hold(task: Any, seconds: str) -> Result:
        here = shell(task)
        wanted = running(Service("sleeper", ("sleep", seconds)))
        plan = here.gather(wanted)
        here.run_all(plan.steps)
        return Result(host=task.host, changed=bool(plan), result=bool(here.gather(wanted)))

    host = bed.relay.name

    def hold_on(seconds: str) -> tuple[bool, bool]:
        result = run_on(nr, [host], hold, seconds=seconds)[host]
        return result.changed, result.result

    assert hold_on("1001") == (True, False)
    assert hold_on("1001") == (False, False)
    assert hold_on("1002") == (True, False)
    assert "sleep 1002" in said(nr, host, "ps", "-e", "-o", "args=")
    assert "sleep 1001" not in said(nr, host, "ps", "-e", "-o", "args=")
    # who is nobody's child is gone a moment after the signal
    kill = "p=$(cat /run/vpnmesh/sleeper.pid); kill -9 $p; while kill -0 $p 2> /dev/null; do sleep 0.02; done"
    said(nr, host, "sh", "-c", kill)
    assert hold_on("1002") == (True, False)
    modes = said(nr, host, "sh", "-c", "stat -c '%a %n' /run/vpnmesh /run/vpnmesh/sleeper.*").split("\n")[:-1]
    ends = ("log", "pid", "spec")
    assert modes == ["700 /run/vpnmesh", *(f"600 /run/vpnmesh/sleeper.{end}" for end in ends)]
    said(nr, host, "sh", "-c", kill)
    said(
        nr,
        host,
        "rm",
        "-rf",
        "/run/vpnmesh/sleeper.pid",
        "/run/vpnmesh/sleeper.spec",
        "/run/vpnmesh/sleeper.log",
    )


def test_a_password_for_sudo_travels_on_stdin(lab: Lab) -> None:
    """A user whose sudo wants a password works, a wrong password is one clear failure, and neither is shown."""
    nr = load("lab")[0]
    host = nr.inventory.hosts["relay"]
    host.username = lab.password_user
    password = lab.password_file.read_text().strip()
    host.data["sudo_password"] = password
    assert said(nr, "relay", "id", "-u").strip() == "0"
    assert password not in said(nr, "relay", "ps", "-e", "-o", "args=")
    nr.close_connections()

    wrong = load("lab")[0]
    wrong.inventory.hosts["relay"].username = lab.password_user
    wrong.inventory.hosts["relay"].data["sudo_password"] = "wrong horse"
    with pytest.raises(HostsFailedError) as caught:
        run_on(wrong, ["relay"], tasks.set_sysctls, values={"net.ipv4.tcp_mtu_probing": "0"})
    assert isinstance(caught.value.first, CommandError)
    assert "horse" not in str(caught.value)
    wrong.close_connections()


@pytest.mark.parametrize("said", ["ssh_strict: true", "nothing"])
@pytest.mark.parametrize("case", ["unknown", "changed"])
def test_another_host_key_is_refused_by_name(
    case: str, said: str, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node whose key is not known, or not the known one, is not logged in to, also where the inventory is silent."""
    lines = lab.known_hosts.read_text().splitlines()
    address = load("lab")[1].relay.management
    other = next(line.split(" ", 1)[1] for line in lines if not line.startswith(f"{address} "))
    known = [line for line in lines if not line.startswith(f"{address} ")]
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    file = home / ".ssh" / "known_hosts"
    file.write_text("\n".join(known + [f"{address} {other}"] * (case == "changed")) + "\n")
    monkeypatch.setenv("HOME", str(home))
    folder = tmp_path / "inventory"
    shutil.copytree(LAB_INVENTORY, folder)
    defaults = yaml.safe_load((folder / "defaults.yaml").read_text())
    strict = {"ssh_strict": True, "system_host_keys": True} if said != "nothing" else {}
    defaults["connection_options"]["netmiko"]["extras"] = {"key_file": str(lab.key_file), **strict}
    (folder / "defaults.yaml").write_text(yaml.safe_dump(defaults))
    nr, _ = load(str(folder))
    with pytest.raises(HostsFailedError) as caught:
        run_on(nr, ["relay"], tasks.find_binaries, programs=("sh",))
    assert isinstance(caught.value.first, NodeUnreachableError)
    assert re.search(r"^relay: .*([Hh]ost key|known_hosts)", str(caught.value.first))
    nr.close_connections()


def test_results_print_as_nornir_users_expect(
    nr: Nornir, bed: Testbed, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tasks work alone, with Nornir's own filter and print_result."""
    chosen = nr.filter(F(groups__contains="role__k8s-worker"))
    done = chosen.run(task=tasks.ping_address, address=str(bed.relay.underlay), count=2)
    print_result(done)
    shown = capsys.readouterr().out
    assert not done.failed
    assert "worker1" in shown
    assert "sent=2" in shown


def test_a_measurement_of_the_walk_through_works_by_hand(nr: Nornir, bed: Testbed) -> None:
    """docs/add-a-measurement.md on real pods: all figures, every text kept at once, nothing left running."""
    connect, kept = walk_through.measurement(), dict[str, str]()
    question = Question(bed, bed.pairs[0])
    client = nr.filter(name=bed.client.name)
    parameters: dict[str, Any] = {
        "question": question,
        "others": nr.inventory.hosts,
        "keep": kept.__setitem__,
    }
    with provisioned(Site(nr, bed), scenario_named("native-1450")):
        done = client.run(task=tasks.measure, measurement=connect, **parameters)[bed.client.name]
        assert not done.failed, done.result
        refused = client.run(task=tasks.measure, measurement=measurement_named("convergence"), **parameters)
        nr.data.reset_failed_hosts()
        assert "perl" not in said(nr, bed.server.name, "ps", "-e", "-o", "comm=").split()
    assert kept == done.result
    measured = connect.parse(done.result, question)
    assert {sample.name for sample in measured.samples} == {figure.name for figure in connect.figures}
    assert isinstance(refused[bed.client.name].exception, UnavailableError)


def test_a_failed_host_is_asked_again(nr: Nornir, bed: Testbed) -> None:
    """Nornir skips hosts that failed before, in silence; we do not."""
    host = bed.relay.name
    with pytest.raises(HostsFailedError, match="exit 1"):
        run_on(nr, [host], tasks.run_command, argv=("false",))
    assert run_on(nr, [host], tasks.find_binaries, programs=("sh",))[host].result["sh"]


@pytest.mark.parametrize("shared", [False, True], ids=["NIC apart", "NIC shared with management"])
def test_management_is_never_impaired(shared: bool, nr: Nornir, bed: Testbed) -> None:  # noqa: FBT001
    """At 350 ms on the client's underlay, pings take 350 ms and SSH round trips to that node what they always take."""
    client = bed.client
    if shared:
        client = replace(client, management_interface=client.leg.interface)
        bed = replace(bed, nodes=tuple(client if node.name == client.name else node for node in bed.nodes))
    host = client.name

    def round_trip_s() -> float:
        started = time.monotonic()
        said(nr, host, "true")
        return time.monotonic() - started

    clean_s = min(round_trip_s() for _ in range(7))
    site = Site(nr, bed)
    with impaired(site, choose_engine(site), Condition(delay_ms=350), Placement()):
        ping = run_on(nr, [host], tasks.ping_address, address=str(bed.server.underlay), count=3)[host].result
        impaired_s = min(round_trip_s() for _ in range(7))
    assert ping.rtt.min_ms >= 349
    # one impaired crossing would add 350 ms to each; load adds to most, and half of that hardly to the quickest
    assert impaired_s < clean_s + 0.175
    assert site.complaints == []
