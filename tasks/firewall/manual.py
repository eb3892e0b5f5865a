"""For those who may only use pfSense's pages: say what to click, wait for the person, leave the proof to packets."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TextIO

from tasks.firewall.driver import FirewallDriver, FirewallJob
from tasks.firewall.journal import Journal
from vpnmesh.errors import CheckError
from vpnmesh.firewall.explanation import clicks, sentences
from vpnmesh.firewall.pfsense_objects import Mark, PfsenseObjects, objects
from vpnmesh.firewall.policy import Ruleset
from vpnmesh.firewall.session import ChangeOrigin
from vpnmesh.model import Testbed

NOTHING, UNCONFIRMED = "allow-all", ""
"""What is held where this run changed nothing, and where nobody said how far the clicks came."""
ASK = "Press Enter when done, or write 'stop' to give up: "
NO_EXPIRY = (
    "These rules do not end by themselves: `python -m workflows.teardown --run {run}` says what to take away."
)


@dataclass(frozen=True, slots=True)
class Clicks:
    """What a person has to do; falsy when nothing."""

    steps: tuple[str, ...] = ()
    diff: str = ""

    def __bool__(self) -> bool:
        """Whether there is anything to click."""
        return bool(self.steps)


@dataclass(frozen=True, slots=True)
class Manual:
    """A firewall that only a person can change. It cannot be read: the journal keeps what the person confirmed."""

    testbed: Testbed
    mark: Mark
    answers: TextIO
    tell: Callable[[str], None]
    journal: Journal
    origin: ChangeOrigin

    def observe(self) -> str:
        """The policy that the person last confirmed for this run; UNCONFIRMED while one was asked for and no more."""
        begun = self.journal.read(self.origin)
        return begun.confirmed if begun else NOTHING

    def holds(self, held: str) -> bool:
        """Whether rules of this run may be on the firewall."""
        return held != NOTHING

    def snapshot(self, _held: str) -> Mapping[str, object]:
        """Nothing can be read."""
        return {}

    def revision(self, _held: str) -> str:
        """Nothing can be read."""
        return ""

    def plan(self, held: str, wanted: Ruleset) -> Clicks:
        """What to click to get from the one policy to the other."""
        if held == wanted.name:
            return Clicks()
        away = clicks(PfsenseObjects(), self.mark.prefix) if self.holds(held) else ()
        made = (
            clicks(objects(wanted, self.testbed, self.mark, schedule=False), self.mark.prefix)
            if wanted
            else ()
        )
        return Clicks((*away, *made), "\n".join(sentences(wanted, self.testbed)))

    def apply(self, plan: Clicks, wanted: Ruleset) -> None:
        """Show the steps and wait; CheckError when nobody answers or the person gives up.

        The journal says that nothing is known before the first step is shown, and the policy once it is confirmed.
        """
        self.journal.confirm(self.origin, UNCONFIRMED)
        self.tell(f"Please set the firewall to policy '{wanted.name}':\n{plan.diff}")
        for number, step in enumerate(plan.steps, start=1):
            self.tell(f"{number:3}. {step}")
        if wanted:
            self.tell(NO_EXPIRY.format(run=self.mark.run))
        self.tell(ASK)
        answer = self.answers.readline()
        if not answer or answer.strip().lower() == "stop":
            raise CheckError(
                "firewall", "nobody confirmed the clicks; the manual driver needs a person at a terminal"
            )
        self.journal.confirm(self.origin, wanted.name)

    def verify(self, wanted: Ruleset) -> None:
        """Nothing can be read: the proof by packets, which follows every change, is the only one."""

    def roll_back(self, _snapshot: Mapping[str, object] | None) -> bool:
        """Ask the person to take away what was marked."""
        nothing = Ruleset(NOTHING)
        steps = clicks(PfsenseObjects(), self.mark.prefix)
        self.apply(Clicks(steps, "\n".join(sentences(nothing, self.testbed))), nothing)
        return True


def _session(job: FirewallJob) -> Manual:
    return Manual(job.testbed, job.mark, sys.stdin, print, job.journal, job.origin)


DRIVER = FirewallDriver("manual", "a person at pfSense's pages", _session, is_appliance=True, by_ssh=False)
