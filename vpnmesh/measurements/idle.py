"""What the nodes spend while nothing is measured: the price of a mesh that carries nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from vpnmesh.measurements import observed
from vpnmesh.measurements.protocol import Figure, Needed, Question, Session, Settings, text_of
from vpnmesh.model import Condition, Role
from vpnmesh.study.outcome import Measured, Sample
from vpnmesh.tools import load

_MARGIN_S = 2 * load.INTERVAL_S
"""One interval more at each end, so that the measured seconds have whole samples on both sides."""
_SLACK_S = 10.0


@dataclass(frozen=True, slots=True)
class Idle:
    """The load of client, server and relay for as long as one repetition lasts."""

    name: str = "idle"
    figures: tuple[Figure, ...] = (Figure("cpu_pct", "%", "CPU of the client node", label="% CPU"),)
    program: str = ""
    server_role: Role = Role.K8S_WORKER
    needed: tuple[Needed, ...] = ()

    def seconds(self, settings: Settings, _condition: Condition) -> float:
        """The measured seconds and the margin around them."""
        return settings.duration_s + _MARGIN_S

    def asked_under(self, _condition: Condition) -> bool:
        """Under every condition."""
        return True

    def ask(self, session: Session) -> None:
        """Sample the nodes, and ask nothing of them."""
        watch_idle(session)

    def parse(self, raw: Mapping[str, str], question: Question) -> Measured:
        """The client's CPU; the other nodes' loads are in the record as with every test."""
        text_of(raw, observed.load_file("client"))
        return Measured((Sample("cpu_pct", observed.loads(raw, question)["client"].cpu_pct),))


def watch_idle(session: Session) -> None:
    """Sample all nodes for the profile's seconds while nothing is measured."""
    seconds = session.question.settings.duration_s + _MARGIN_S
    with session.observed(timeout_s=seconds + _SLACK_S):
        session.wait(seconds)


MEASUREMENT = Idle()
