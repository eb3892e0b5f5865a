"""A Linux router over SSH: the driver that makes the transactions which `vpnmesh.firewall.nftables` decides on."""

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.connection import Shell, shell
from tasks.firewall.driver import FirewallDriver, FirewallJob
from vpnmesh.errors import CheckError
from vpnmesh.firewall import nat_routers, nftables
from vpnmesh.firewall.nftables import LoadedRules
from vpnmesh.firewall.policy import Ruleset
from vpnmesh.host.probes import Program
from vpnmesh.model import Testbed
from vpnmesh.plan import Plan, Step


@dataclass(frozen=True, slots=True)
class Nftables:
    """A Linux router over SSH. Its table is ours alone, so whichever run made it may be taken away."""

    here: Shell
    testbed: Testbed

    def observe(self) -> LoadedRules:
        """What the kernel holds in our table."""
        return self.here.gather(nftables.held())

    def holds(self, held: LoadedRules) -> bool:
        """Whether our table has any rule."""
        return bool(held.lines)

    def snapshot(self, _held: LoadedRules) -> Mapping[str, object]:
        """Nothing: the transactions name our table alone, so no other can change with them."""
        return {}

    def revision(self, _held: LoadedRules) -> str:
        """The kernel counts no revisions that mean anything later."""
        return ""

    def plan(self, held: LoadedRules, wanted: Ruleset) -> Plan:
        """One transaction that makes our table anew, or a renewal."""
        return nftables.plan(held, wanted, self.testbed)

    def apply(self, plan: Plan, _wanted: Ruleset) -> None:
        """Carry it out in one round trip."""
        self.here.change(plan.steps)

    def verify(self, wanted: Ruleset) -> None:
        """The kernel holds what was wanted."""
        if left := self.plan(self.observe(), wanted):
            raise CheckError(
                "firewall", f"{self.here.host}: after the change there is still a difference: {left.diff}"
            )

    def roll_back(self, _snapshot: Mapping[str, object] | None) -> bool:
        """Remove our table."""
        nothing = Ruleset("allow-all")
        if plan := self.plan(self.observe(), nothing):
            self.apply(plan, nothing)
            self.verify(nothing)
        return bool(plan)


def _session(job: FirewallJob) -> Nftables:
    return Nftables(shell(job.task), job.testbed)


def _taken_back(testbed: Testbed) -> tuple[Step, ...]:
    """Our rules, and the routers that nodes were put behind."""
    return (*nftables.taken_back(testbed), *nat_routers.taken_back(testbed))


DRIVER = FirewallDriver(
    "nftables",
    "any Linux router, and the lab",
    _session,
    is_default=True,
    programs=(Program("nft", "nftables"), Program("conntrack", "conntrack")),
    kernel_features=("nftables",),
    take_back=_taken_back,
)
