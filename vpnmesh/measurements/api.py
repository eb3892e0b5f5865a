"""Response times of the Kubernetes API: a list of pods, asked from a pod of a worker (paper, sections 3.3 and 4.3).

Two ways to ask. `api` sends at most ten requests a second in all, by the clock, as the paper's text says; `api-hey` is
the paper's own command, whose limit of ten a second is one for each of a hundred workers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from vpnmesh.errors import CommandError, ToolError
from vpnmesh.measurements.api_standing import Standing, api_server
from vpnmesh.measurements.protocol import Figure, Needed, Question, Session, Settings, json_of, text_of
from vpnmesh.model import Condition, Role
from vpnmesh.plan import Secret
from vpnmesh.study.outcome import Measured, Sample
from vpnmesh.tools import api_requests, hey, load
from vpnmesh.tools.api_requests import Requests

PER_S = 10
"""Requests a second: in all for `api`, of each worker for `api-hey`."""
WORKERS = 100
TIMEOUT_S = 20
"""How long a request may take: hey's own limit."""
START_S = 6.0
"""What it takes until the server is ready and holds its objects and a client is started, on two busy cores."""
HEY_PER_S = 300
"""About what a server on one node answers; the paper's answered 310 to 385 a second."""
SLACK_S = 10.0
MOST_BYTES = 10**12
"""More than any list has, and any number of requests or workers."""
SAMPLED_S = 2 * load.INTERVAL_S
REQUESTS_FILE, ASKED_FILE, WORDS_FILE = api_requests.FILE, "asked.json", "client.txt"
_TIMED_OUT = (124, 137)
# the token comes on stdin; hey itself takes a header only as an argument
_HEY = 'IFS= read -r token; url="$1"; shift; exec hey "$@" -H "Authorization: Bearer $token" "$url"'

_SERVER = (
    Needed(("kubernetes", "kube-apiserver"), "server", way="make kube"),
    Needed(("etcd",), "server", "etcd-server"),
    Needed(("openssl",), "server", "openssl"),
    Needed(("python3",), "server", "python3"),
)
_TIMES = (
    Figure("p50_ms", "ms", "median response time"),
    Figure("p95_ms", "ms", "response time of 95 %"),
    Figure("p99_ms", "ms", "response time of 99 %"),
    Figure("mean_ms", "ms", "mean response time"),
    Figure("answers_per_s", "1/s", "answers a second"),
    Figure("saturated", "", "whether answers fell behind", 2),
    Figure("errors", "", "requests without a good answer", 0),
)


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Ten requests a second by the clock; each one's time counts from when it was due."""

    name: str = "api"
    figures: tuple[Figure, ...] = (
        *_TIMES,
        Figure("timeouts", "", f"requests without an answer for {TIMEOUT_S} s", 0),
        Figure("refused", "", "connections refused", 0),
        Figure("resets", "", "connections cut", 0),
        Figure("tls_errors", "", "failures of TLS", 0),
        Figure("bad_statuses", "", "answers with an error", 0),
    )
    program: str = "python3"
    server_role: Role = Role.K8S_MASTER
    needed: tuple[Needed, ...] = (*_SERVER, Needed(("python3",), "client", "python3"))

    def seconds(self, settings: Settings, condition: Condition) -> float:
        """The server's start, all requests by the clock, and the last one's way back."""
        return START_S + settings.api_requests / PER_S + 2 * condition.round_trip_ms / 1000

    def asked_under(self, _condition: Condition) -> bool:
        """Under every condition."""
        return True

    def ask(self, session: Session) -> None:
        """Start a server, ask it by the clock, and keep a row for every request."""
        count = session.question.settings.api_requests
        limit_s = count / PER_S + TIMEOUT_S + SLACK_S
        with api_server(session, asked_s=limit_s) as standing:
            _keep_asked(session, standing, count, 0)
            wanted = {
                "url": standing.url,
                "token": standing.token.reveal(),
                "ca": standing.certificate,
                "requests": count,
                "per_s": PER_S,
                "timeout_s": TIMEOUT_S,
            }
            argv = ("python3", "-I", "-c", api_requests.sender_source())
            _ask_client(session, argv, Secret(json.dumps(wanted)), limit_s)

    def parse(self, raw: Mapping[str, str], _question: Question) -> Measured:
        """Times and errors; ToolError where nothing was answered."""
        found = api_requests.parse_sender(_table(raw), _asked(raw)["requests"])
        times = _times(raw, found, api_requests.behind(found.sent_s, found.response_s))
        kinds = {
            "timeouts": ("timeout",),
            "refused": ("refused",),
            "resets": ("reset", "unreachable", "unreadable"),
            "tls_errors": ("tls",),
            "bad_statuses": ("status",),
        }
        counts = tuple(Sample(name, found.count(*words)) for name, words in kinds.items())
        return Measured((*times, *counts), found.size_bytes)


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """The paper's command: a hundred workers, each of which asks again as soon as it was answered."""

    name: str = "api-hey"
    figures: tuple[Figure, ...] = _TIMES
    program: str = hey.TOOL
    server_role: Role = Role.K8S_MASTER
    needed: tuple[Needed, ...] = (*_SERVER, Needed((hey.TOOL,), "client", "hey"))

    def seconds(self, settings: Settings, condition: Condition) -> float:
        """The server's start, and the requests as fast as it answers or as the delay lets a worker ask."""
        rounds = settings.hey_requests / workers(settings.hey_requests)
        round_s = max(1 / PER_S, 2 * condition.round_trip_ms / 1000)
        return START_S + max(settings.hey_requests / HEY_PER_S, rounds * round_s)

    def asked_under(self, _condition: Condition) -> bool:
        """Under every condition."""
        return True

    def ask(self, session: Session) -> None:
        """Start a server, let hey ask it, and keep hey's own table."""
        settings, condition = session.question.settings, session.question.condition
        busy = workers(settings.hey_requests)
        count = settings.hey_requests // busy * busy
        # a request that is lost on the way to a busy server waits for its timeout; four of each worker may
        limit_s = 3 * self.seconds(settings, condition) + 4 * TIMEOUT_S + SLACK_S
        with api_server(session, asked_s=limit_s) as standing:
            _keep_asked(session, standing, count, busy)
            options = ("-n", str(count), "-c", str(busy), "-q", str(PER_S), "-t", str(TIMEOUT_S), "-o", "csv")
            argv = ("sh", "-c", _HEY, "sh", standing.url, *options)
            _ask_client(session, argv, Secret(f"{standing.token.reveal()}\n"), limit_s)

    def parse(self, raw: Mapping[str, str], _question: Question) -> Measured:
        """Times and errors; ToolError where nothing was answered."""
        asked = _asked(raw)
        found = api_requests.parse_hey(_table(raw), asked["requests"], asked["list_bytes"])
        busy = bool(found.answered) and api_requests.all_busy(
            found.sent_s, found.response_s, asked["workers"]
        )
        return Measured(_times(raw, found, busy), found.size_bytes)


MEASUREMENTS = (OpenLoop(), ClosedLoop())


def workers(requests: int) -> int:
    """How many workers hey has: the paper's hundred, or one for each request where those are fewer."""
    return min(WORKERS, requests)


def _keep_asked(session: Session, standing: Standing, count: int, busy: int) -> None:
    """Keep what was asked of which server; never its token."""
    asked = {
        "requests": count,
        "workers": busy,
        "per_s": PER_S,
        "timeout_s": TIMEOUT_S,
        "url": standing.url,
        "list_bytes": standing.list_bytes,
        "ready_s": standing.ready_s,
    }
    session.keep(ASKED_FILE, json.dumps(asked))


def _ask_client(session: Session, argv: tuple[str, ...], stdin: Secret, limit_s: float) -> None:
    """Let the client ask, and keep its table, or its words where there is none."""
    with session.observed(timeout_s=limit_s + SLACK_S + SAMPLED_S):
        # few requests are over before a second sample of the nodes' load
        session.wait(SAMPLED_S)
        try:
            done = session.run("client", argv, timeout_s=limit_s, ok=(0, 1, 2), stdin=stdin)
        except CommandError as error:
            late = error.exit_code in _TIMED_OUT
            words = f"not done after {limit_s:.0f} s" if late else error.stderr.strip()
            session.keep(WORDS_FILE, words)
            session.keep(REQUESTS_FILE, "")
            return
    session.keep(WORDS_FILE, done.stderr.strip())
    session.keep(REQUESTS_FILE, done.stdout)


def _table(raw: Mapping[str, str]) -> str:
    """The client's rows; ToolError with its last words where there are none."""
    text = text_of(raw, REQUESTS_FILE)
    words = raw.get(WORDS_FILE, "").strip().splitlines()
    if not text.strip() and words:
        raise ToolError("api", words[-1])
    return text


def _asked(raw: Mapping[str, str]) -> dict[str, int]:
    found = json_of(raw, ASKED_FILE)
    names = ("requests", "workers", "list_bytes")
    if not isinstance(found, dict) or not all(_is_count(found.get(name)) for name in names):
        raise ToolError("raw", f"{ASKED_FILE} does not say what was asked")
    return {name: found[name] for name in names}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_BYTES


def _times(raw: Mapping[str, str], found: Requests, saturated: bool | None) -> tuple[Sample, ...]:  # noqa: FBT001
    if not found.answered:
        words = raw.get(WORDS_FILE, "").strip().splitlines()
        told = found.told() or (words[-1] if words else "nothing was asked")
        raise ToolError("api", f"none of {found.errors} requests was answered: {told}")
    return (
        Sample("p50_ms", found.quantile_ms(0.5)),
        Sample("p95_ms", found.quantile_ms(0.95)),
        Sample("p99_ms", found.quantile_ms(0.99)),
        Sample("mean_ms", 1000 * float(found.response_s.mean())),
        Sample("answers_per_s", found.per_s),
        Sample("saturated", float(bool(saturated))),
        Sample("errors", found.errors),
    )
