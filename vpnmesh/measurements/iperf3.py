"""Throughput from pod to pod by iperf3, over TCP and over UDP, counted from when a flow is steady.

A profile may ask for the paper's way instead (section 3.3): a second omitted, whatever the flow does then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vpnmesh.errors import CommandError, ToolError
from vpnmesh.measurements import flow
from vpnmesh.measurements.protocol import Figure, Needed, Question, Session, Settings, text_of
from vpnmesh.model import Condition, Role
from vpnmesh.plan import Completed
from vpnmesh.study.outcome import Measured, Sample
from vpnmesh.tools import iperf3
from vpnmesh.tools.iperf3_series import series_of, something_arrived

CLIENT_FILE, SERVER_FILE, ERROR_FILE = "client.json", "server.txt", "client-error.txt"
SERVER_ERROR_FILE = "server-error.txt"
_ERROR = "error - "
"""What iperf3 writes before its words about what went wrong."""
_TIMED_OUT = (124, 137)
_NOT_STARTED = (126, 127)
_LAST_WORDS_S = 0.1
"""What a client that ended by itself has said by then."""
_SERVER_ENDS_S = 5
"""The server and the samplers may outlive the client by this much."""

LOST = f"the datagram that opens the stream, or its answer, was lost {iperf3.OPENINGS} times (issue 351)"

RATE = Figure("rate_mbit_s", "Mbit/s", "throughput at the receiver")
SENT = Figure("sent_mbit_s", "Mbit/s", "sent by the client")
STEADY = Figure("steady_s", "s", "when the flow was steady", optional=True)
FILL = Figure("fill_s", "s", "until nine tenths of the steady rate", optional=True)


@dataclass(frozen=True, slots=True)
class Throughput:
    """One iperf3 client in the client's pod against a fresh server in the server's."""

    name: iperf3.Transport
    figures: tuple[Figure, ...]
    program: str = iperf3.PROGRAM
    server_role: Role = Role.K8S_WORKER
    needed: tuple[Needed, ...] = ()

    def seconds(self, settings: Settings, condition: Condition) -> float:
        """The stream, with the seconds in which it gets steady under that condition."""
        return flow.call(settings, condition, self.name).streams_s

    def asked_under(self, _condition: Condition) -> bool:
        """Under every condition."""
        return True

    def ask(self, session: Session) -> None:
        """Ask a fresh server, and keep both sides' words; a client that fails is an answer too.

        A UDP stream whose opening is lost is opened again, with a fresh server, at most twice.
        """
        question = session.question
        tool = flow.call(question.settings, question.condition, self.name)
        limit_s = tool.limit_s(question.condition) + _SERVER_ENDS_S
        opening_s = tool.opening_s(question.condition)
        with session.observed(timeout_s=limit_s + (iperf3.OPENINGS - 1) * (opening_s + _SERVER_ENDS_S)):
            if self.name == "tcp":
                self._ask_tcp(session, tool)
            elif not any(self._ask_udp(session, tool, number) for number in range(1, iperf3.OPENINGS + 1)):
                _keep(session, "", LOST)

    def parse(self, raw: Mapping[str, str], question: Question) -> Measured:
        """The receiver's rate and what goes with it; ToolError with iperf3's own words, CheckError if never steady."""
        try:
            return self._figures(raw, question)
        except ToolError as error:
            said = raw.get(SERVER_ERROR_FILE, "").partition(_ERROR)[2].strip()
            if not said:
                raise
            words = f"{error.reason} ({question.pair.server}'s server: {said})"
            raise ToolError(iperf3.PROGRAM, words) from error

    def _figures(self, raw: Mapping[str, str], question: Question) -> Measured:
        said = text_of(raw, CLIENT_FILE)
        if not said.strip() and raw.get(ERROR_FILE):
            raise ToolError(iperf3.PROGRAM, raw[ERROR_FILE].strip() + _heard(raw, question, self.name))
        if not question.settings.steady:
            measured = iperf3.parse(said, self.name)
            more = flow.ramp_samples(raw.get(SERVER_FILE, ""), question) if self.name == "tcp" else ()
        else:
            figures = flow.tcp_figures if self.name == "tcp" else flow.udp_figures
            measured, more = figures(said, text_of(raw, SERVER_FILE), question), ()
        if self.name == "udp":
            more = (*more, Sample("openings", flow.openings(raw)))
        return Measured((*measured.samples, *more), measured.carried_bytes)

    def _ask_tcp(self, session: Session, tool: iperf3.Iperf3) -> None:
        question = session.question
        address, limit_s = question.pod("server"), tool.limit_s(question.condition)
        server = session.start("server", tool.server(address), timeout_s=limit_s + _SERVER_ENDS_S)
        banner = server.wait_for(iperf3.LISTENING)
        try:
            done = session.run("client", tool.client("tcp", address), timeout_s=limit_s, ok=(0, 1))
        except CommandError as error:
            said, wrong = "", _late(limit_s) if error.exit_code in _TIMED_OUT else str(error)
        else:
            said, wrong = done.stdout, done.stderr.strip()
        _keep(session, said, wrong)
        _keep_server(session, banner, server.stop())

    def _ask_udp(self, session: Session, tool: iperf3.Iperf3, number: int) -> bool:
        """One opening and, unless it is lost, the whole flow; whether that was kept."""
        question = session.question
        address, limit_s = question.pod("server"), tool.limit_s(question.condition)
        server = session.start("server", tool.server(address), timeout_s=limit_s + _SERVER_ENDS_S)
        heard = server.wait_for(iperf3.LISTENING)
        client = session.start("client", tool.client("udp", address), timeout_s=limit_s)
        heard += server.read_until(something_arrived, within_s=tool.opening_s(question.condition))
        opened = something_arrived(heard)
        said = client.read_until(iperf3.is_whole, within_s=limit_s if opened else _LAST_WORDS_S)
        # read before it is ended: what iperf3 says when it is told to end is no answer
        done, ended = client.stop(), server.stop()
        heard += ended.stdout
        if not (opened or said.strip() or done.exit_code in _NOT_STARTED):
            session.keep(f"{flow.OPENING}-{number}.txt", heard)
            return False
        late = opened and (done.exit_code in _TIMED_OUT or not iperf3.is_whole(said))
        _keep(session, "" if late else said, _late(limit_s) if late else done.stderr.strip())
        _keep_server(session, heard, replace(ended, stdout=""))
        return True


def _heard(raw: Mapping[str, str], question: Question, transport: iperf3.Transport) -> str:
    """How far the server came, for a client that ended without a report: which of both is to be looked at."""
    if SERVER_FILE not in raw:
        return ""
    series, pair = series_of(raw[SERVER_FILE]), question.pair
    told_s, asked_s = (
        series[-1].end_s if series else 0.0,
        flow.call(question.settings, question.condition, transport),
    )
    return f" ({pair.client} asked {pair.server}, whose server tells {told_s:.1f} s of {asked_s.streams_s} s)"


def _late(limit_s: float) -> str:
    return f"not done after {limit_s:.0f} s"


def _keep(session: Session, said: str, wrong: str) -> None:
    session.keep(CLIENT_FILE, said)
    if wrong:
        session.keep(ERROR_FILE, wrong)


def _keep_server(session: Session, heard: str, ended: Completed) -> None:
    """The series, and what the server says of itself where it failed: the client only knows that it is gone."""
    session.keep(SERVER_FILE, heard + ended.stdout)
    if _ERROR in ended.stderr:
        session.keep(SERVER_ERROR_FILE, ended.stderr)


MEASUREMENTS = (
    Throughput(
        "tcp",
        (RATE, SENT, Figure("retransmits", "", "segments sent again", 0, optional=True), STEADY, FILL),
    ),
    Throughput(
        "udp",
        (
            RATE,
            SENT,
            Figure("lost_pct", "%", "what did not arrive"),
            STEADY,
            Figure("openings", "", "openings of the stream", 0, optional=True),
        ),
    ),
)
