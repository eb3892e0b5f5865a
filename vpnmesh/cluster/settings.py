"""Kernel settings of a node while a cluster is on it, and what they were before: leaving sets those again."""

from collections.abc import Mapping, Sequence

from vpnmesh.host.sysctls import hold
from vpnmesh.plan import Command, Completed, Fact, Plan, both

KUBELET: Mapping[str, str] = {
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    "kernel.keys.root_maxkeys": "1000000",
    "kernel.keys.root_maxbytes": "25000000",
}
"""What kubelet wants of the machine, and sets itself unless it is told not to (k8s.io/kubernetes v1.34.4,
`setupKernelTunables` in pkg/kubelet/cm)."""

# constant scripts; the file is an argument. The first values stay: a second start would keep its own
_KEEP = 'mkdir -p "$(dirname "$1")"; [ -e "$1" ] || { cat > "$1.new" && mv "$1.new" "$1"; }'
_RESTORE = '[ ! -e "$1" ] || while read -r setting; do sysctl -q -w "$setting"; done < "$1"; true'


def held(values: Mapping[str, str], file: str) -> Fact[Plan]:
    """Ensure these settings where the kernel has them; what they were is kept in that file of the node."""

    def plan(found: tuple[Plan, str]) -> Plan:
        wanted, before = found
        if not wanted:
            return wanted
        keep = Command(("sh", "-c", _KEEP, "sh", file), stdin=before)
        return Plan((keep, *wanted.steps), wanted.diff)

    return both(hold(values), _now(values)).map(plan)


def restored(file: str) -> Command:
    """Set again what the file says; nothing where there is none."""
    return Command(("sh", "-c", _RESTORE, "sh", file))


def _now(values: Mapping[str, str]) -> Fact[str]:
    """The values now, as `sysctl -w` takes them back."""

    def parse(completed: Sequence[Completed]) -> str:
        lines = completed[0].stdout.splitlines()
        pairs: Mapping[str, str] = dict(line.split(" = ", 1) for line in lines if " = " in line)
        return "".join(f"{key}={value}\n" for key, value in pairs.items())

    return Fact((Command(("sysctl", "-e", *values), ok=(0, 1, 255)),), parse)
