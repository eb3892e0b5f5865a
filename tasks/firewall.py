"""What the firewall node lets pass between VLANs."""

from nornir.core.task import Result, Task

from tasks.apply import converge
from tasks.connection import shell
from vpnmesh.firewall import nftables
from vpnmesh.firewall.policy import Policy
from vpnmesh.model import Testbed
from vpnmesh.plan import Completed, Fact, ask, together

# a connected UDP socket learns by ICMP that nobody listens: the second write is refused if the first got through
_PROBE = 'exec 3<>"/dev/udp/$0/$1" && echo a >&3; sleep 0.3; echo b >&3 2>/dev/null && exit 7; exit 0'
CLOSED_PORT = 33999
SILENT, REFUSED = 7, 0


def set_firewall_policy(task: Task, policy: Policy, testbed: Testbed, dry_run: bool | None = None) -> Result:  # noqa: FBT001
    """Have the firewall hold exactly this policy; run it on the host with role firewall."""
    return converge(task, nftables.set_policy(policy, testbed), dry_run)


def probe_udp(task: Task, addresses: tuple[str, ...]) -> Result:
    """Which addresses UDP packets from this node get to: `result` maps address to True or False.

    A port on which nothing listens answers with ICMP port-unreachable, so no receiver is needed.
    """
    facts: dict[str, Fact[Completed]] = {
        address: ask("bash", "-c", _PROBE, address, str(CLOSED_PORT), timeout_s=3) for address in addresses
    }
    answers = shell(task).gather(together(facts))
    return Result(
        host=task.host, result={address: one.exit_code == REFUSED for address, one in answers.items()}
    )
