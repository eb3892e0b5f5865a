"""What a flow's series says of a repetition: figures, or the reason that there are none; and openings that are lost."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.measurements.cases import cases, question
from tests.measurements.silent import SilentProcess, SilentSession
from vpnmesh.errors import CheckError, ToolError
from vpnmesh.measurements import flow, measurement_named
from vpnmesh.measurements.protocol import Settings, Side
from vpnmesh.model import PAPER_CONDITIONS, Condition
from vpnmesh.plan import Completed
from vpnmesh.stats.steady import SeriesInterval
from vpnmesh.study.profiles import PROFILES

TCP, UDP = measurement_named("tcp"), measurement_named("udp")
DELAYED = Condition.parse("delay-250ms")


def client_of(flow_s: int, rtt_us: int = 250_000, transport: str = "tcp") -> str:
    """A synthetic client's report of a flow of 100 Mbit/s in tenths of a second."""
    sums = [
        {"start": n / 10, "end": (n + 1) / 10, "bytes": 1_250_000, "retransmits": 1}
        for n in range(10 * flow_s)
    ]
    sender = {"sender": {"min_rtt": rtt_us}} if transport == "tcp" else {"udp": {}}
    return json.dumps({"intervals": [{"sum": one} for one in sums], "end": {"streams": [sender]}})


def server_of(captured: Path, name: str, seconds: int) -> str:
    """The captured server's lines of the first seconds."""
    lines = (captured / "iperf3-series" / f"{name}.txt").read_text().splitlines(keepends=True)
    return "".join(line for line in lines if "-" not in line or _start(line) < seconds - 0.05)


def _start(line: str) -> float:
    try:
        return float(line.split("]")[1].split("-", maxsplit=1)[0])
    except (IndexError, ValueError):
        return 0.0


@pytest.mark.parametrize(
    ("condition", "tcp_s", "udp_s"),
    [
        ("none", 2, 2),
        ("loss-1pct", 2, 2),
        ("loss-5pct", 3, 2),
        ("loss-10pct", 4, 2),
        ("loss-90pct", 11, 2),
        ("delay-50ms", 2, 2),
        ("delay-250ms", 7, 2),
        ("delay-350ms", 9, 2),
    ],
)
def test_the_length_follows_the_condition(condition: str, tcp_s: int, udp_s: int) -> None:
    """Slow start needs round trips, lost retransmissions need time; what needs neither is two seconds, one counts."""
    asked = Condition.parse(condition)
    assert (TCP.seconds(Settings(), asked), UDP.seconds(Settings(), asked)) == (tcp_s, udp_s)
    assert TCP.seconds(Settings(60), asked) >= 61
    assert flow.call(Settings(), asked, "tcp").limit_s(asked) > tcp_s + 5


def test_the_paper_keeps_its_call() -> None:
    """A second omitted, sixty counted, under every condition, and nothing else asked."""
    settings, pod = PROFILES["paper"].settings, question("native-1450").pod("server")
    for condition in PAPER_CONDITIONS:
        tool = flow.call(settings, condition, "udp")
        assert tool.client("udp", pod)[5:] == (
            *("-O", "1", "-t", "60", "-u", "-b", "0", "-w", "2M"),
            *("--connect-timeout", "10000", "-J", "--get-server-output"),
        )
        assert TCP.seconds(settings, condition) == 61


def test_a_delayed_flow_is_counted_from_the_bend_of_its_curve(captured: Path) -> None:
    """Native at 250 ms: 118 Mbit/s, where a second after a second was 22."""
    raw = {"client.json": client_of(7), "server.txt": server_of(captured, "delay-250ms-tcp", 7)}
    measured = TCP.parse(raw, question("native-1450", condition=DELAYED))
    assert measured.get("rate_mbit_s") == pytest.approx(118, abs=4)
    assert measured.get("steady_s") == pytest.approx(2.4, abs=0.6)
    assert measured.get("fill_s") == pytest.approx(2.6, abs=0.3)
    assert measured.get("retransmits") == pytest.approx(46, abs=6)
    assert measured.carried_bytes == pytest.approx(69e6, rel=0.1)


def test_a_flow_that_never_got_steady_is_a_failure_with_the_way_out(captured: Path) -> None:
    """A delay that nobody told of: the flow is two seconds long and still in slow start."""
    raw = {"client.json": client_of(2), "server.txt": server_of(captured, "delay-250ms-tcp", 2)}
    with pytest.raises(CheckError, match="--duration") as failed:
        TCP.parse(raw, question("native-1450"))
    assert failed.value.stage == "steady"


def test_a_flow_that_stood_still_is_a_failure(captured: Path) -> None:
    """No zero stands in for a rate."""
    lines = server_of(captured, "none-tcp", 2).splitlines(keepends=True)
    still = "".join(
        line if _start(line) < 0.95 else line.replace(line.split("MBytes")[-1].split("Kbits")[0], "  0.00 ")
        for line in lines
    )
    raw = {"client.json": client_of(2, 300), "server.txt": still}
    with pytest.raises(CheckError, match="stood still") as failed:
        TCP.parse(raw, question("native-1450"))
    assert failed.value.stage == "steady"


@pytest.mark.parametrize(
    ("name", "under"),
    [
        ("none-machine-gets-free-tcp", "none"),
        ("loss-1pct-userspace-tcp", "loss-1pct"),
        ("loss-1pct-relay-tcp", "loss-1pct"),
        ("loss-5pct-tcp", "loss-5pct"),
        ("loss-10pct-tcp", "loss-10pct"),
    ],
)
def test_noise_is_not_slow_start(name: str, under: str, captured: Path) -> None:
    """A machine that gets free and a rate that loss moves up and down fail nobody."""
    condition = Condition.parse(under)
    seconds = int(TCP.seconds(Settings(), condition))
    raw = {"client.json": client_of(seconds, 2800), "server.txt": server_of(captured, name, seconds)}
    assert (TCP.parse(raw, question("native-1450", condition=condition)).get("rate_mbit_s") or 0) > 0


def test_a_series_that_is_cut_off_is_the_tools_failure(captured: Path) -> None:
    """Half a series is no steady flow and no unsteady one."""
    raw = {"client.json": client_of(7), "server.txt": server_of(captured, "delay-250ms-tcp", 4)}
    with pytest.raises(ToolError, match=r"4\.0 s of 7 s"):
        TCP.parse(raw, question("native-1450", condition=DELAYED))


def test_udp_counts_the_losses_of_the_steady_part(captured: Path) -> None:
    """By datagrams, after the first second; a stall without any is no loss."""
    raw = {"client.json": client_of(2, 0, "udp"), "server.txt": server_of(captured, "loss-10pct-udp", 2)}
    measured = UDP.parse(raw, question("native-1450", condition=Condition.parse("loss-10pct")))
    assert measured.get("lost_pct") == pytest.approx(11.3, abs=0.5)
    assert measured.get("rate_mbit_s") == pytest.approx(382, abs=5)
    assert measured.get("openings") == 1


def test_the_papers_way_tells_the_ramp_too(captured: Path) -> None:
    """The series is kept and read; the figure is the tool's own sum."""
    (case,) = (one for one in cases("tcp") if one.name == "nebula-relay")
    raw = {**case.raw, "server.txt": server_of(captured, "none-tcp", 2)}
    measured = TCP.parse(raw, replace(case.question, settings=Settings(1, steady=False)))
    assert measured.get("rate_mbit_s") == case.figures["rate_mbit_s"]
    assert measured.get("fill_s") == pytest.approx(0.1)


LISTENING = "Server listening"
ACCEPTED = "Accepted connection from 10.136.0.65, port 38820\n"


@dataclass
class Speaking(SilentProcess):
    """A process that says its words when it is read, and more when it is told to end."""

    words: str = ""
    last: str = ""

    def read_until(self, enough: Callable[[str], bool], *, within_s: float) -> str:
        said, self.words = self.words, ""
        return said

    def stop(self) -> Completed:
        self.printed = self.last
        return super().stop()


@dataclass
class LosingSession(SilentSession):
    """Loses the first openings, then measures what was captured."""

    lost: int = 0
    server: str = ""
    client: str = ""
    started: list[Side] = field(default_factory=list)

    def start(
        self, side: Side, argv: Sequence[str], *, in_pod: bool = True, timeout_s: float
    ) -> SilentProcess:
        self.started.append(side)
        if self.started.count("server") <= self.lost:
            words = ACCEPTED if side == "server" else ""
            # what iperf3 prints when it is told to end is no answer
            return Speaking(
                ("iperf3",), words=words, last='{"error": "interrupt"}' if side == "client" else ""
            )
        return Speaking(("iperf3",), words=self.server if side == "server" else self.client)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_opening_is_tried_again(lost: int, captured: Path) -> None:
    """Each is kept, and the figure says how many it took."""
    server = server_of(captured, "none-udp", 2)
    session = LosingSession(question("native-1450"), lost=lost, server=server, client=client_of(2, 0, "udp"))
    UDP.ask(session)
    assert UDP.parse(session.raw, session.question).get("openings") == lost + 1
    assert [session.raw[f"opening-{n}.txt"] for n in range(1, lost + 1)] == lost * [LISTENING + ACCEPTED]
    assert session.started == (lost + 1) * ["server", "client"]


def test_three_lost_openings_are_a_failure() -> None:
    """Only then, with the reason."""
    session = LosingSession(question("native-1450"), lost=3)
    UDP.ask(session)
    assert session.started.count("client") == 3
    with pytest.raises(ToolError, match="lost 3 times"):
        UDP.parse(session.raw, session.question)


def test_no_flow_is_counted_before_slow_start_can_be_over() -> None:
    """Bursts in which no cut shows: 25 Mbit/s at 250 ms take six doublings, a second and a half."""
    series = [SeriesInterval(n / 10, (n + 1) / 10, 125.0 if n % 5 == 4 else 0.0) for n in range(90)]
    asked = question("native-1450", condition=Condition.parse("delay-250ms+loss-5pct"))
    text = "".join(
        f"[  5]   {one.start_s:.2f}-{one.end_s:.2f}   sec  1.0 MBytes  {1000 * one.value:.0f} Kbits/sec      \n"
        for one in series
    )
    measured = TCP.parse({"client.json": client_of(9), "server.txt": text}, asked)
    assert measured.get("steady_s") == pytest.approx(1.75)
