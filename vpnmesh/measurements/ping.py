"""Round trips from pod to pod: twenty a second, as many as five times the profile's seconds."""

from collections.abc import Mapping
from dataclasses import dataclass

from vpnmesh.errors import ToolError
from vpnmesh.measurements.protocol import Figure, Needed, Question, Session, Settings, text_of
from vpnmesh.model import Condition, Role
from vpnmesh.study.outcome import Measured, Sample
from vpnmesh.tools import ping

FILE = "ping.txt"
INTERVAL_S = 0.05
WAIT_S = 1.0
PINGS_PER_S = 5
"""Pings for every second of the profile's duration."""
_SLACK_S = 2.0


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """What an idle path takes there and back, and how many packets it loses."""

    name: str = "ping"
    figures: tuple[Figure, ...] = (
        Figure("rtt_ms", "ms", "mean round trip"),
        Figure("lost_pct", "%", "pings without an answer"),
    )
    program: str = "ping"
    server_role: Role = Role.K8S_WORKER
    needed: tuple[Needed, ...] = ()

    def seconds(self, settings: Settings, condition: Condition) -> float:
        """All pings, and the last one's way back."""
        return _count(settings) * INTERVAL_S + condition.round_trip_ms / 1000

    def asked_under(self, _condition: Condition) -> bool:
        """Under every condition."""
        return True

    def ask(self, session: Session) -> None:
        """Ping the server's pod from the client's."""
        count = _count(session.question.settings)
        argv = ping.argv(session.question.pod("server"), count, interval_s=INTERVAL_S, wait_s=WAIT_S)
        limit_s = ping.seconds(count, interval_s=INTERVAL_S, wait_s=WAIT_S) + _SLACK_S
        done = session.run("client", argv, timeout_s=limit_s, ok=(0, 1, 2))
        session.keep(FILE, done.stdout + done.stderr)

    def parse(self, raw: Mapping[str, str], _question: Question) -> Measured:
        """Mean and loss from ping's own summary; ToolError when nothing came back."""
        summary = ping.parse(text_of(raw, FILE))
        if summary.rtt is None:
            raise ToolError("ping", f"none of {summary.sent} came back")
        lost_pct = 100 * (1 - summary.received / summary.sent)
        return Measured((Sample("rtt_ms", summary.rtt.avg_ms), Sample("lost_pct", lost_pct)))


def _count(settings: Settings) -> int:
    return PINGS_PER_S * settings.duration_s


MEASUREMENT = RoundTrips()
