"""Kernel settings of nodes: what the paper sets, and how to set and undo any."""

from collections.abc import Mapping, Sequence

from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff

PAPER_SYSCTLS: Mapping[str, str] = {
    "net.core.rmem_max": "26214400",
    "net.core.wmem_max": "26214400",
    "fs.inotify.max_user_instances": "512",
}
"""The settings of the paper's repository. Some are global, so absent in a network namespace."""
FORWARDING = "net.ipv4.ip_forward"
REDIRECTS = "net.ipv4.conf.all.send_redirects"
OURS: Mapping[str, str] = {**PAPER_SYSCTLS, FORWARDING: "1", REDIRECTS: "0"}
"""All that changes of a node's settings through a run, and to what.

Pods need forwarding (`vpnmesh.host.pods`); the kernel's WireGuard turns redirects off, for the whole machine, when an
interface of its kind comes up, and never on again (drivers/net/wireguard/device.c, `wg_open`).
"""


# constant script: prints the value of a key that exists and can be written; inside a network namespace the
# kernel shows global keys (net.core.rmem_max) read-only, mode 0444, and root would only seem to set them
_READ = 'f="/proc/sys/$(echo "$1" | tr . /)"; [ -n "$(find "$f" -maxdepth 0 -perm -200 2>/dev/null)" ] && cat "$f"'


def read(keys: Sequence[str]) -> Fact[dict[str, str]]:
    """The values of those keys that this node can set; a key that the kernel lacks or locks is left out."""

    def parse(completed: Sequence[Completed]) -> dict[str, str]:
        return {
            key: " ".join(one.stdout.split())
            for key, one in zip(keys, completed, strict=True)
            if one.exit_code == 0
        }

    return Fact(tuple(Command(("sh", "-c", _READ, "sh", key), ok=(0, 1)) for key in keys), parse)


def hold(values: Mapping[str, str]) -> Fact[Plan]:
    """Ensure these kernel settings; a key that the kernel lacks cannot be set and is no change."""
    return read(tuple(values)).map(lambda found: _set(found, values))


def put_back(former: Mapping[str, str], ours: Mapping[str, str] = OURS) -> Fact[Plan]:
    """Set the former values where a setting is still as we set it; what somebody else set since stays as it is."""

    def plan(found: Mapping[str, str]) -> Plan:
        return _set(
            found, {key: value for key, value in former.items() if found.get(key, "") == ours.get(key)}
        )

    return read(tuple(former)).map(plan)


def _set(found: Mapping[str, str], values: Mapping[str, str]) -> Plan:
    """The steps to these values, of settings that have others."""
    wrong = {key: value for key, value in values.items() if key in found and found[key] != value}
    if not wrong:
        return Plan()
    before = "\n".join(f"{key} = {found[key]}" for key in wrong)
    after = "\n".join(f"{key} = {value}" for key, value in wrong.items())
    steps = tuple(Command(("sysctl", "-q", "-w", f"{key}={value}")) for key, value in wrong.items())
    return Plan(steps, unified_diff("sysctl", before, after))
