"""What a node is and runs: kernel, versions, settings; recorded in every run."""

import shlex
from collections.abc import Sequence

from nornir.core.task import Result, Task

from inventory.repeating import repeatable
from tasks.connection import shell
from vpnmesh.doctor.judge import UNREAD
from vpnmesh.host.service import looking_in
from vpnmesh.host.sysctls import PAPER_SYSCTLS
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Fact, ask, together

_QUESTIONS = {
    "kernel": ("uname", "-srvm"),
    "hostname": ("hostname",),
    "os": ("sh", "-c", '. /etc/os-release; echo "$PRETTY_NAME"'),
    "cpu": ("sh", "-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2"),
    "cores": ("nproc",),
    "memory_kb": ("sh", "-c", "grep MemTotal /proc/meminfo | tr -dc 0-9"),
    "iperf3": ("sh", "-c", "iperf3 --version | head -1"),
    "ping": ("ping", "-V"),
    "iproute2": ("ip", "-V"),
    "tcp_congestion": ("sysctl", "-n", "net.ipv4.tcp_congestion_control"),
    "ip_forward": ("sysctl", "-n", "net.ipv4.ip_forward"),
    "links": ("ip", "-br", "link"),
    "addresses": ("ip", "-br", "address"),
    "routes": ("ip", "route"),
    "qdiscs": ("tc", "qdisc", "show"),
    "firewall": ("nft", "list", "ruleset"),
    "governor": (
        "sh",
        "-c",
        "cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null || echo none",
    ),
    **{key: ("sysctl", "-n", key) for key in PAPER_SYSCTLS},
}

_NOT_THERE = 127
# driver and firmware; the address on the bus is another one in every machine
_NIC = 'ethtool -i "$1" | grep -E "^(driver|firmware-version):" | cut -d: -f2 | xargs'

# the exit code is the program's own: what could not be read is not nothing
_FOOTPRINT = {
    "interfaces": ("sh", "-c", 'out=$(ip -o link) && printf "%s\\n" "$out" | cut -d: -f2 | cut -d@ -f1'),
    "routes": ("ip", "route"),
    "rules": ("ip", "rule"),
    "qdiscs": ("sh", "-c", "out=$(tc qdisc show) && printf '%s\\n' \"$out\" | sed '/ noqueue /d'"),
    "firewall": (
        "sh",
        "-c",
        "out=$(nft -s list ruleset) && printf '%s\\n' \"$out\" | sed 's/counter packets [0-9]* bytes [0-9]*/counter/'",
    ),
    "files": (
        "sh",
        "-c",
        "find /var/lib/vpnmesh /run/vpnmesh -path /run/vpnmesh/lease -prune -o -type f -print 2>/dev/null; true",
    ),
    "namespaces": ("ip", "netns", "list"),
}


@repeatable
def read_provenance(task: Task, testbed: Testbed, versions: tuple[tuple[str, ...], ...] = ()) -> Result:
    """Everything that a result must be read with; `result` maps a name to what the node said."""
    questions: dict[str, Fact[Completed]] = {name: ask(*argv) for name, argv in _QUESTIONS.items()}
    port = testbed.node(task.host.name).leg.interface
    questions["offloads"] = ask("ethtool", "-k", port)
    questions["nic"] = ask("sh", "-c", _NIC, "sh", port)
    questions["speed"] = ask("cat", f"/sys/class/net/{port}/speed")
    questions |= {shlex.join(argv): ask(*argv) for argv in versions}
    answers = shell(task).gather(together(questions))
    return Result(host=task.host, result={name: _said(one) for name, one in answers.items()})


@repeatable
def read_footprint(task: Task) -> Result:
    """What a run could leave on a node; read before and after it, and compared.

    `result` maps a name to sorted lines: interfaces, routes, qdiscs, firewall rules, VPN processes' files; one line
    that begins with UNREAD where the question failed.
    """
    answers = shell(task).gather(together({name: ask(*argv) for name, argv in _FOOTPRINT.items()}))
    return Result(host=task.host, result={name: footprint_lines(one) for name, one in answers.items()})


def footprint_lines(one: Completed) -> list[str]:
    """What a question found, sorted; a program that is not there (127) has left nothing."""
    if one.exit_code in (0, _NOT_THERE):
        return sorted(one.stdout.split("\n"))
    return [f"{UNREAD}: {(one.stderr.strip().splitlines() or [f'exit {one.exit_code}'])[-1]}"]


@repeatable
def find_binaries(task: Task, programs: tuple[str, ...], folder: str = "") -> Result:
    """Where the node has these programs; `result` maps a name to its path, "" where there is none.

    A folder, if any, is looked in first.
    """
    facts = {
        name: Fact(
            (Command(looking_in(folder, ("sh", "-c", 'command -v "$1"', "sh", name)), ok=(0, 127)),), _path
        )
        for name in programs
    }
    return Result(host=task.host, result=shell(task).gather(together(facts)))


@repeatable
def makes_link(task: Task, kind: str) -> Result:
    """Whether the node's kernel makes links of a kind; `result` is that.

    One is made in a network of its own, which ends with it; the kernel may load the kind's module for it.
    """
    question = ask("unshare", "--net", "ip", "link", "add", "tried0", "type", kind)
    return Result(host=task.host, result=shell(task).gather(question).exit_code == 0)


@repeatable
def read_version(task: Task, argv: tuple[str, ...], folder: str = "") -> Result:
    """What a program says of itself, by this command; `result` is "not known: ..." where it fails."""
    question = ask(*looking_in(folder, argv))
    return Result(host=task.host, result=_said(shell(task).gather(question)))


def _path(completed: Sequence[Completed]) -> str:
    return completed[0].stdout.strip() if completed[0].exit_code == 0 else ""


def _said(one: Completed) -> str:
    if one.exit_code == 0:
        return one.stdout.strip()
    # a program that does not know the question answers with a page of its options
    return f"not known: {(one.stderr.strip().splitlines() or [str(one.exit_code)])[0]}"


def run_command(task: Task, argv: tuple[str, ...], timeout_s: float = 20.0) -> Result:
    """Run any command as root, for looking around from a REPL; `result` is what it printed.

    Raises CommandError when it fails. It reads: `changed` is never set, so use a changing task to change.
    """
    return Result(host=task.host, result=shell(task).run(*argv, timeout_s=timeout_s).stdout)
