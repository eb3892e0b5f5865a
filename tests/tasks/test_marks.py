"""Only hosts marked as testbed are changed: every task says whether it changes one, and no way leads past that."""

import ast
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import paramiko
import pytest
from nornir.core.inventory import Defaults, Group, Host, ParentGroups
from nornir.core.task import Task

import tasks
from inventory.load import load
from inventory.marks import NotMarkedError, is_marked, refuse_unmarked
from tasks.connection import Shell
from vpnmesh.errors import InputError
from vpnmesh.firewall.policy import policy_named
from vpnmesh.host.brought import LIST
from vpnmesh.plan import Command, Fact, WriteFile
from vpnmesh.testbed import HostRecord, InventoryRecords, build_testbed

READS = frozenset(
    {
        "count_passed",
        *("cluster_state", "find_binaries", "has_netem", "look_at_node", "makes_link"),
        *("look_for_program", "mesh_status", "ping_address", "ping_burst", "ping_train"),
        *("ping_paths", "probe_path", "probe_path_mtu", "reach_pods", "read_answers"),
        *("read_clock", "read_cluster_answers", "read_footprint", "read_foreign"),
        *("read_host_key", "read_impairment"),
        *("read_kubeconfig", "read_lease", "read_logs", "read_other_clusters"),
        *("read_ports", "read_provenance", "read_stack", "read_sysctls"),
        *("read_version", "time_api"),
        *("ping_pod", "probe_ways", "read_identity", "read_path_state", "read_tunnels", "read_ways"),
    }
)
"""Tasks that only look: they work on every host. `gather` and `look` are all that they call of a shell."""
CHANGES = frozenset(
    {
        *("attach_pods", "blacklist_interfaces", "carry_streams", "change_address"),
        *("claim_lease", "clear_api_test", "restore_address"),
        *("clear_impairment", "detach_pods", "enter_pods", "forget_lease"),
        *("install_engine", "join_stage", "kill_services", "knock"),
        *("leave_cluster", "leave_mesh", "listen_for_marker", "make_changes", "measure"),
        *("probe_reach", "probe_relay_share", "push_file", "put_for_a_while", "put_sysctls_back"),
        *("release_lease", "renew_impairment", "renew_lease", "roll_back_firewall"),
        *("run_command", "set_access_vlans", "set_firewall_policy", "set_impairment"),
        *("set_sysctls", "watch_flows", "withdraw_files"),
        *(
            "clear_nat_kinds",
            "measure_tunnel",
            "probe_nat",
            "set_nat_kinds",
            "start_header_capture",
        ),
        *("set_families", "restore_families"),
    }
)
"""Tasks that put, start or take away something on a node: on one that is not marked they end in NotMarkedError."""
ROOT = Path(tasks.__file__).parent
LOOKING = {"gather", "look"}
CHANGING = {"run", "run_all", "change", "feed", "start", "settle"}


def all_tasks() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function of this package whose first parameter is a Nornir task, and that is not private."""
    for found in pkgutil.walk_packages(tasks.__path__, "tasks."):
        module = import_module(found.name)
        for name, one in inspect.getmembers(module, inspect.isfunction):
            parameters = list(inspect.signature(one).parameters.values())
            ours = one.__module__ == found.name and not name.startswith("_")
            if ours and parameters and parameters[0].annotation in (Task, "Task"):
                yield name, one


def test_every_task_says_whether_it_changes_a_node() -> None:
    """A new one is written down here, and then held to it below."""
    named = {name for name, _ in all_tasks()} - {"shell", "shell_of", "converge", "console", "session_of"}
    named -= {"remove"}
    assert named == READS | CHANGES
    assert not READS & CHANGES
    assert set(tasks.__all__) <= named


def calls_of(module: Path) -> Iterator[tuple[str, str]]:
    """Every method that a function of the module calls, with the function."""
    for one in ast.walk(ast.parse(module.read_text())):
        if isinstance(one, ast.FunctionDef):
            for call in ast.walk(one):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                    yield one.name, call.func.attr


def test_tasks_that_read_call_nothing_that_changes() -> None:
    """Of a shell they use what any host may be asked; what they call besides is pure."""
    found = {
        (name, call)
        for module in ROOT.rglob("*.py")
        for name, call in calls_of(module)
        if name in READS and call in CHANGING
    }
    assert found == set()


def test_nobody_opens_a_way_of_their_own() -> None:
    """Commands leave through the Shell, lines through the switch's console, rules through the firewall's sessions."""
    ways = {
        "exec_command": {"connection.py"},
        "open_session": {"connection.py", "login.py"},
        "open_sftp": set[str](),
        "invoke_shell": set[str](),
        "send_input": {"switch.py"},
        "enter_mode": {"switch.py"},
        "writer": {"policy.py"},
    }
    found = {way: set[str]() for way in ways}
    for module in ROOT.rglob("*.py"):
        for _, call in calls_of(module):
            if call in found:
                found[call].add(module.name)
    assert all(found[way] <= allowed for way, allowed in ways.items()), found


class NoClient:
    """A connection on which nothing may be sent."""

    def get_transport(self) -> object:
        raise AssertionError("a command was about to leave")


STRANGER = Shell("stranger", cast("paramiko.SSHClient", NoClient()), sudo=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda here: here.run("true"),
        lambda here: here.run_all([Command(("true",))]),
        lambda here: here.change([WriteFile("/etc/motd", "x")]),
        lambda here: here.feed(("tee", LIST), [b"x"], stalled_s=1),
        lambda here: here.start(("iperf3", "-s"), timeout_s=1),
        lambda here: here.settle(Fact((Command(("true",)),), len)),
    ],
)
def test_nothing_is_sent_to_a_host_without_the_mark(change: Callable[[Shell], object]) -> None:
    """By whatever method; the sentence has the host and the way out."""
    with pytest.raises(
        NotMarkedError, match=r"stranger: is not marked as testbed, and nothing is changed; .*testbed: true"
    ):
        change(STRANGER)


def test_a_shell_has_no_other_way_to_change() -> None:
    """A new method of Shell is written down here: it looks, or it refuses a host without the mark."""
    methods = {name for name in vars(Shell) if not name.startswith("_") and callable(getattr(Shell, name))}
    assert methods == LOOKING | CHANGING | {"refuse_unmarked"}


def task_on(host: Host) -> Task:
    """What a task sees, without an inventory behind it."""
    return cast("Task", SimpleNamespace(host=host, is_dry_run=bool))


def test_the_firewall_of_a_host_without_the_mark_is_left_alone() -> None:
    """Also behind a driver that uses no shell of ours: the tasks refuse before any driver is asked."""
    _, bed = load("lab")
    task = task_on(Host("fw", hostname="192.0.2.1", data={"firewall_driver": "manual"}))
    with pytest.raises(NotMarkedError, match=r"^fw: "):
        tasks.set_firewall_policy(task, policy_named("block-udp"), bed)
    with pytest.raises(NotMarkedError, match=r"^fw: "):
        tasks.roll_back_firewall(task, bed)


def test_the_mark_is_the_hosts_own() -> None:
    """By its data or its group's, or by NetBox's tag; the testbed's name in the defaults marks nobody."""
    defaults = Defaults(data={"testbed": "edge"})
    assert not is_marked(Host("a", defaults=defaults))
    assert not is_marked(Host("a", data={"testbed": "true"}, defaults=defaults))
    assert is_marked(Host("a", data={"testbed": True}, defaults=defaults))
    marked = Group("ours", data={"testbed": True})
    assert is_marked(Host("a", groups=ParentGroups([marked]), defaults=defaults))
    assert not is_marked(Host("a", groups=ParentGroups([marked]), data={"testbed": False}, defaults=defaults))
    assert is_marked(Host("a", groups=ParentGroups([Group("tag__testbed")]), defaults=defaults))


def test_all_unmarked_hosts_are_named_at_once() -> None:
    """The lab's are marked; of the others a person wants to know all."""
    lab, real = load("lab")[0], load("baremetal")[0]
    refuse_unmarked(lab.inventory.hosts.values())
    refuse_unmarked(load("lab-8")[0].inventory.hosts.values())
    with pytest.raises(
        NotMarkedError, match="k8s-master, worker1, worker2, relay, hypervisor, firewall: are not"
    ):
        refuse_unmarked(real.inventory.hosts.values())


@pytest.mark.parametrize("mark", ["yes", 1, "true"])
def test_a_mark_that_only_looks_like_one_is_refused(mark: object) -> None:
    """Whoever writes `testbed: yes` in quotes believes that the host is marked: it is told."""
    host = HostRecord("a", "192.0.2.1", ("role__relay", "vlan__10"), {"testbed": mark, "kind": "metal"})
    groups = {"vlan__10": {"prefix": "10.0.0.0/24", "gateway": "10.0.0.1"}}
    records = InventoryRecords("hosts.yaml", (host,), groups, {"testbed": "edge"})
    records.hosts[0].data.update(underlay="10.0.0.2/24", interface="eth0")  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"hosts.yaml: a: testbed: .* is neither true nor false"):
        build_testbed(records)
