"""The requests of one repetition of an API test, read from CSV: hey's columns, or the open-loop sender's."""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from vpnmesh.errors import ToolError
from vpnmesh.tools import hey

Floats = NDArray[np.float64]
OPEN_LOOP = "open-loop"
"""The mode of requests that are sent by the clock; hey's is `hey`."""
SENDER_COLUMNS = (*hey.COLUMNS, "intended-offset", "bytes", "error")
BUSY = 0.8
"""From this share of busy time on, the workers of a closed loop are the limit: the server is saturated."""
MODES = {"api": OPEN_LOOP, "api-hey": "hey"}
"""The tests that keep a row for every request, in `FILE`, and how each asks."""
FILE = "requests.csv"
KEPT_UP = 0.9
"""Answers of an open loop that come at less than this share of the rate at which it asks fall behind."""


@dataclass(frozen=True, slots=True)
class Requests:
    """What became of every request; times in seconds, of those that were answered with a status of 2xx.

    `sent_s` are the intended times of an open loop. `wrong` says how often each thing went wrong: `timeout`, `refused`,
    `reset`, `tls`, `status 500`, ... `size_bytes` is how much all answers hold, None where the tool does not count.
    """

    response_s: Floats
    sent_s: Floats
    wrong: Mapping[str, int]
    size_bytes: float | None = None

    @property
    def answered(self) -> int:
        """How many were answered."""
        return self.response_s.size

    @property
    def errors(self) -> int:
        """How many were not."""
        return sum(self.wrong.values())

    @property
    def per_s(self) -> float:
        """Answers a second, from the first request to the last answer; ToolError where that is no time at all."""
        seconds = float((self.sent_s + self.response_s).max() - self.sent_s.min())
        if seconds <= 0:
            raise ToolError("api", "all requests took no time")
        return self.answered / seconds

    def quantile_ms(self, share: float) -> float:
        """The response time that this share of the answers did not exceed."""
        return 1000 * float(np.quantile(self.response_s, share))

    def count(self, *kinds: str) -> int:
        """How many went wrong in one of these ways, each the first word of what is told."""
        return sum(count for what, count in self.wrong.items() if what.split(":")[0].split()[0] in kinds)

    def told(self) -> str:
        """What went wrong, in words, the most frequent first."""
        return ", ".join(f"{count} {what}" for what, count in Counter(dict(self.wrong)).most_common())


def sender_source() -> str:
    """The open-loop sender, as text for `python3 -I -c`."""
    return resources.files("vpnmesh.tools").joinpath("open_loop_sender.py").read_text(encoding="utf-8")


def server_source() -> str:
    """What keeps an API server and its etcd for a test, as text for `python3 -I -c`."""
    return resources.files("vpnmesh.tools").joinpath("api_server.py").read_text(encoding="utf-8")


def parse_sender(text: str, asked: int) -> Requests:
    """What the open-loop sender wrote; ToolError unless there is a row for every request."""
    rows = _rows(text, SENDER_COLUMNS)
    if len(rows) != asked:
        raise ToolError("open-loop sender", f"{len(rows)} of {asked} requests are told of")
    good = [row for row in rows if _is_answer(row)]
    wrong = Counter(row["error"] or f"status {row['status-code']}" for row in rows if not _is_answer(row))
    return _requests(good, "intended-offset", wrong, sum(float(row["bytes"]) for row in good))


def parse_hey(text: str, asked: int, list_bytes: float) -> Requests:
    """What hey wrote; it has no row for a request without an answer, and does not say why."""
    rows = _rows(text, hey.COLUMNS)
    if len(rows) > asked:
        raise ToolError(hey.TOOL, f"{len(rows)} answers to {asked} requests")
    good = [row for row in rows if _is_answer(row)]
    wrong = Counter(f"status {row['status-code']}" for row in rows if not _is_answer(row))
    if asked > len(rows):
        wrong["without an answer"] = asked - len(rows)
    return _requests(good, "offset", wrong, list_bytes * len(good))


def behind(sent_s: Floats, response_s: Floats) -> bool | None:
    """Whether the answers of an open loop fell behind its requests; None of too few.

    Then response times grow with the time at which a request was due, by as much as the rate is lower. Medians of both
    halves tell: a constant delay moves both alike, and answers that come late now and then move neither.
    """
    order = np.argsort(sent_s, kind="stable")
    half = order.size // 2
    if not half:
        return None
    early, late = order[:half], order[-half:]
    seconds = float(sent_s[late].mean() - sent_s[early].mean())
    grown_s = float(np.median(response_s[late]) - np.median(response_s[early]))
    return grown_s > (1 / KEPT_UP - 1) * seconds if seconds > 0 else None


def all_busy(sent_s: Floats, response_s: Floats, workers: float) -> bool:
    """Whether the workers of a closed loop hardly ever idled (Little's law)."""
    seconds = float((sent_s + response_s).max() - sent_s.min())
    return seconds > 0 and float(response_s.sum()) / seconds >= BUSY * workers


def _rows(text: str, columns: Sequence[str]) -> list[dict[str, str]]:
    lines = text.splitlines()
    if not lines or tuple(lines[0].split(",")) != tuple(columns):
        said = " ".join(text.split())[:200]
        raise ToolError("api", f"no table of requests: {said or 'nothing was said'}")
    return list(csv.DictReader(lines[1:], columns, restval="", restkey="more"))


def _is_answer(row: Mapping[str, str]) -> bool:
    """Whether a row is whole and has a status of 2xx."""
    if not (row["status-code"].isdecimal() and row["status-code"].startswith("2")) or row.get("error"):
        return False
    try:
        numbers = [float(value) for name, value in row.items() if name not in ("error", "status-code")]
    except (TypeError, ValueError):
        return False
    return all(math.isfinite(one) for one in numbers) and numbers[0] >= 0


def _requests(
    good: Iterable[Mapping[str, str]], sent: str, wrong: Mapping[str, int], size_bytes: float
) -> Requests:
    rows = list(good)
    response = np.array([float(row["response-time"]) for row in rows], dtype=np.float64)
    return Requests(
        response, np.array([float(row[sent]) for row in rows], dtype=np.float64), wrong, size_bytes
    )
