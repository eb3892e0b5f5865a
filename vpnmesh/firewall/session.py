"""What every firewall driver does for a run, and the record of a change; the drivers are in `tasks.firewall`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from vpnmesh.firewall.policy import Ruleset

H = TypeVar("H")
P = TypeVar("P", bound="PlannedChange")


class PlannedChange(Protocol):
    """A change as a value: falsy when there is nothing to do."""

    @property
    def diff(self) -> str:
        """The difference that a person reads."""

    def __bool__(self) -> bool:
        """Whether there is anything to do."""


class FirewallSession(Protocol[H, P]):
    """One run at work on one firewall; H is what the firewall holds, P a planned change.

    `observe` reads; `plan` decides without writing, and refuses what it could not do safely; `apply` writes;
    `verify` reads again and raises if the firewall does not hold what was wanted; `roll_back` takes away all that
    this run made, whatever state a crash left it in, and raises if the configuration is not the snapshot's.
    """

    def observe(self) -> H:
        """What the firewall holds now."""

    def holds(self, held: H, /) -> bool:
        """Whether anything of this run is there."""

    def snapshot(self, held: H, /) -> Mapping[str, object]:
        """What a roll back has to come back to, as JSON can hold it."""

    def revision(self, held: H, /) -> str:
        """The configuration's revision, as far as the firewall has one; kept in the journal."""

    def plan(self, held: H, wanted: Ruleset, /) -> P:
        """The change from held to wanted; CheckError where it must not be made."""

    def apply(self, plan: P, wanted: Ruleset, /) -> None:
        """Make the change and load it; CheckError names the call that failed."""

    def verify(self, wanted: Ruleset, /) -> None:
        """CheckError unless the firewall holds what was wanted."""

    def roll_back(self, snapshot: Mapping[str, object] | None, /) -> bool:
        """Leave nothing of this run; returns whether there was anything."""


@dataclass(frozen=True, slots=True)
class ChangeOrigin:
    """Whose change it is, and of which firewall: two firewalls of one name are told apart by driver and address."""

    run: str
    host: str
    driver: str
    address: str

    @property
    def firewall(self) -> str:
        """The firewall as one word."""
        return f"{self.host}-{self.driver}-{self.address}"


@dataclass(frozen=True, slots=True)
class JournalledChange:
    """A change that was journalled before its first write: whose, when, and from what.

    `confirmed` is the policy that a person said the firewall holds, where only a person can tell; empty from before
    that person is asked until the answer.
    """

    origin: ChangeOrigin
    at: str
    revision: str
    snapshot: Mapping[str, object]
    confirmed: str = ""
