"""pfSense over SSH as root: the driver that runs one PHP script per change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from tasks.connection import Shell, shell
from tasks.firewall.driver import FirewallDriver, FirewallJob, Say
from vpnmesh.errors import CheckError, CommandError
from vpnmesh.firewall import pfsense_php as php
from vpnmesh.firewall import pfsense_rest as rest
from vpnmesh.firewall.pfsense_config import LIFETIME, differences, ends_after
from vpnmesh.firewall.pfsense_objects import Mark, PfsenseObjects, Schedule, lease, objects
from vpnmesh.firewall.pfsense_php import ScriptAnswer
from vpnmesh.firewall.policy import Ruleset
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Plan, unified_diff

_NO_PFSENSE = "Failed opening required 'config.inc'"
NOT_FOUND = 127
"""A shell's exit code for a program that is not there."""


@dataclass(frozen=True, slots=True)
class PfsenseSsh:
    """A pfSense with a root shell. The configuration is written once per change, so there is never half of one."""

    here: Shell
    testbed: Testbed
    mark: Mark
    say: Say

    def observe(self) -> ScriptAnswer:
        """The sections that a change can touch, the revision, and the firewall's clock."""
        script = php.observe_script()
        return self._answer(lambda: self.here.look(*php.ARGV, stdin=script, timeout_s=php.SECONDS))

    def holds(self, held: ScriptAnswer) -> bool:
        """Whether anything of this run is there."""
        return bool(held.held.marked(self.mark.prefix))

    def snapshot(self, held: ScriptAnswer) -> Mapping[str, object]:
        """All objects that are not this run's."""
        return held.held.without(self.mark).snapshot()

    def revision(self, held: ScriptAnswer) -> str:
        """What pfSense says itself: when the configuration was last written, and why."""
        return held.revision

    def plan(self, held: ScriptAnswer, wanted: Ruleset) -> Plan:
        """One script; refused where another run, a foreign rule above or a pending change forbids it."""
        made = self._wanted(wanted)
        rest.check_alone(held.held, self.mark)
        if problems := rest.conflicts(held.held, made):
            raise CheckError("firewall", "; ".join(problems))
        before, after = php.held_lines(held.held, self.mark), php.lines(made)
        diff = unified_diff("firewall", "\n".join(before), "\n".join(after))
        if before == after:
            if not wanted or self._lasts(held):
                return Plan()
            diff = f"firewall policy {wanted.name}: renewed"
        if held.pending and not held.held.marked(self.mark.prefix):
            raise CheckError("firewall", "somebody's changes wait for Apply Changes; settle them first")
        schedule = self._lease(held) if wanted else None
        script = php.change_script(made, wanted, self.testbed, self.mark, schedule)
        command = Command(php.ARGV, stdin=script, timeout_s=php.SECONDS)
        return Plan((command,), diff)

    def apply(self, plan: Plan, _wanted: Ruleset) -> None:
        """Run the script."""
        for completed in self.here.run_all(plan.steps):
            php.parse(completed.stdout)

    def verify(self, wanted: Ruleset) -> None:
        """Our objects are there, in order."""
        found, made = php.held_lines(self.observe().held, self.mark), php.lines(self._wanted(wanted))
        if found != made:
            raise CheckError(
                "firewall", f"{self.here.host}: after the change the firewall does not hold what was wanted"
            )

    def roll_back(self, snapshot: Mapping[str, object] | None) -> bool:
        """Take away what this run made in one write, load the rules, and compare with the snapshot.

        Where a change of ours was begun, rules that wait to be loaded may be a dead caller's way back.
        """
        after = self.observe()
        anything = bool(after.held.marked(self.mark.prefix))
        load = snapshot is not None and after.pending
        if anything or load:
            after = self._run(php.roll_back_script(self.mark, load=load))
        if snapshot is not None and (different := differences(snapshot, after.held.snapshot())):
            raise CheckError(
                "firewall", f"after the roll back these differ from the snapshot: {'; '.join(different)}"
            )
        return anything

    def _wanted(self, wanted: Ruleset) -> PfsenseObjects:
        return objects(wanted, self.testbed, self.mark, schedule=True) if wanted else PfsenseObjects()

    def _lease(self, held: ScriptAnswer) -> Schedule:
        return lease(datetime.fromisoformat(held.time), LIFETIME, self.mark)

    def _lasts(self, held: ScriptAnswer) -> bool:
        half = lease(datetime.fromisoformat(held.time), LIFETIME / 2, self.mark)
        ours = held.held.schedule_of(self.mark)
        return ours is not None and ends_after(ours.fields, half)

    def _run(self, script: str) -> ScriptAnswer:
        return self._answer(lambda: self.here.run(*php.ARGV, stdin=script, timeout_s=php.SECONDS))

    def _answer(self, ask: Callable[[], Completed]) -> ScriptAnswer:
        try:
            done = ask()
        except CommandError as error:
            if error.exit_code != NOT_FOUND and _NO_PFSENSE not in error.stderr:
                raise
            what = "no php" if error.exit_code == NOT_FOUND else "a php without pfSense's functions"
            raise CheckError(
                "firewall",
                f"{error.host}: {what}: the driver pfsense-ssh needs a root shell on a pfSense; see firewall_driver",
            ) from error
        return php.parse(done.stdout)


def _session(job: FirewallJob) -> PfsenseSsh:
    return PfsenseSsh(shell(job.task), job.testbed, job.mark, job.say)


DRIVER = FirewallDriver(
    "pfsense-ssh",
    "pfSense with a root shell",
    _session,
    is_appliance=True,
    entry={"username": "root"},
)
