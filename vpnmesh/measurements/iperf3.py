"""Throughput from pod to pod by iperf3, over TCP and over UDP, as the paper asked for it (section 3.3)."""

from collections.abc import Mapping
from dataclasses import dataclass

from vpnmesh.errors import CommandError, ToolError
from vpnmesh.measurements.protocol import Figure, Question, Session, Settings, text_of
from vpnmesh.model import Condition
from vpnmesh.study.outcome import Measured
from vpnmesh.tools import iperf3

CLIENT_FILE, SERVER_FILE, ERROR_FILE = "client.json", "server.txt", "client-error.txt"
_TIMED_OUT = (124, 137)
_SERVER_ENDS_S = 5
"""The server and the samplers may outlive the client by this much."""

RATE = Figure("rate_mbit_s", "Mbit/s", "throughput at the receiver")
SENT = Figure("sent_mbit_s", "Mbit/s", "sent by the client")


@dataclass(frozen=True, slots=True)
class Throughput:
    """One iperf3 client in the client's pod against a fresh server in the server's."""

    name: iperf3.Transport
    figures: tuple[Figure, ...]
    program: str = iperf3.PROGRAM

    def seconds(self, settings: Settings, _condition: Condition) -> float:
        """The stream, with the seconds that only warm up."""
        return settings.omit_s + settings.duration_s

    def asked_under(self, _condition: Condition) -> bool:
        """Under every condition."""
        return True

    def ask(self, session: Session) -> None:
        """Start a server, ask it once, and keep both sides' words; a client that fails is an answer too."""
        question = session.question
        tool, address = _tool(question.settings), question.pod("server")
        limit_s = tool.limit_s(question.condition)
        server = session.start("server", tool.server(address), timeout_s=limit_s + _SERVER_ENDS_S)
        with session.observed(timeout_s=limit_s + _SERVER_ENDS_S):
            banner = server.wait_for(iperf3.LISTENING)
            self._run_client(session, tool.client(self.name, address), limit_s)
        session.keep(SERVER_FILE, banner + server.stop().stdout)

    def parse(self, raw: Mapping[str, str], _question: Question) -> Measured:
        """The receiver's rate and what goes with it; ToolError with iperf3's own words."""
        said = text_of(raw, CLIENT_FILE)
        if not said.strip() and raw.get(ERROR_FILE):
            raise ToolError(iperf3.PROGRAM, raw[ERROR_FILE])
        return iperf3.parse(said, self.name)

    def _run_client(self, session: Session, argv: tuple[str, ...], limit_s: float) -> None:
        try:
            done = session.run("client", argv, timeout_s=limit_s, ok=(0, 1))
        except CommandError as error:
            late = error.exit_code in _TIMED_OUT
            said, wrong = "", f"not done after {limit_s:.0f} s" if late else str(error)
        else:
            said, wrong = done.stdout, done.stderr.strip()
        session.keep(CLIENT_FILE, said)
        if wrong:
            session.keep(ERROR_FILE, wrong)


def _tool(settings: Settings) -> iperf3.Iperf3:
    return iperf3.Iperf3(
        settings.duration_s, settings.omit_s, settings.congestion, settings.udp_rate, settings.udp_window
    )


MEASUREMENTS = (
    Throughput("tcp", (RATE, SENT, Figure("retransmits", "", "segments sent again", 0, optional=True))),
    Throughput("udp", (RATE, SENT, Figure("lost_pct", "%", "bytes that did not arrive"))),
)
