"""The open-loop sender as a node runs it, against a real HTTPS server."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.measurements.cases import question
from tests.measurements.https_server import BODY, Server, certificate, serving, stalling
from vpnmesh.errors import ToolError
from vpnmesh.measurements import measurement_named
from vpnmesh.tools import api_requests
from vpnmesh.tools.api_requests import Requests, parse_sender

PER_S = 20
SECRET = "a-token-that-nobody-may-see"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's certificate and key."""
    return certificate(tmp_path_factory.mktemp("tls"))


def sent(server: Server, count: int, *, timeout_s: float = 5.0, ca: str = "") -> Requests:
    """What the sender says of so many requests."""
    wanted: dict[str, object] = {
        "url": server.url,
        "token": SECRET,
        "ca": ca or server.certificate,
        "requests": count,
        "per_s": PER_S,
        "timeout_s": timeout_s,
    }
    return parse_sender(run_sender(wanted), count)


def run_sender(wanted: dict[str, object]) -> str:
    """What it prints; the token is nowhere in it."""
    argv = ("python3", "-I", "-c", api_requests.sender_source())
    done = subprocess.run(
        argv, input=json.dumps(wanted), capture_output=True, text=True, timeout=60, check=True
    )
    assert SECRET not in done.stdout + done.stderr
    return done.stdout


def always(status: int) -> Callable[[int], int]:
    """The same answer to all."""
    return lambda _number: status


def test_every_request_is_sent_by_the_clock(pem: Path) -> None:
    """Intended times are exact; all are answered, with all their bytes, over connections that are kept."""
    with serving(pem, always(200)) as server:
        found = sent(server, 20)
    assert sorted(found.sent_s) == pytest.approx([number / PER_S for number in range(20)])
    assert (found.answered, found.errors, found.size_bytes) == (20, 0, 20 * len(BODY))
    # the first of n is at 0, so the last of them is due after n - 1 intervals
    assert found.per_s <= 20 / (19 / PER_S)


@pytest.mark.slow
def test_a_stall_is_not_hidden(pem: Path) -> None:
    """Two seconds without answers: of a client that waits one request is slow, by the clock all that were due then."""
    stall_s, count = 2.0, 60
    with serving(pem, stalling(10, stall_s)) as server:
        found = sent(server, count)
    assert found.response_s.max() >= 0.95 * stall_s
    # those that were due in the first half of the stall waited for at least the other half of it
    slow = int((found.response_s >= 0.5 * stall_s).sum())
    assert slow >= 0.4 * PER_S * stall_s
    # of a closed loop the 95th percentile would show nothing of the stall: one of sixty is less than a twentieth
    assert 1 < count / 20 < slow
    assert found.quantile_ms(0.95) > 500 * stall_s


@pytest.mark.slow
def test_an_answer_that_does_not_come_is_a_timeout(pem: Path) -> None:
    """It counts from the intended time, and the others are not held up."""

    def answer(number: int) -> int:
        time.sleep(3 if number == 3 else 0)
        return 200

    with serving(pem, answer) as server:
        found = sent(server, 10, timeout_s=1.0)
    assert (found.answered, dict(found.wrong), found.count("timeout")) == (9, {"timeout": 1}, 1)


def test_errors_have_their_kinds(pem: Path) -> None:
    """A status that is not 2xx, and a connection that is cut in place of an answer."""
    with serving(pem, lambda number: {2: 500, 4: 401, 6: 0}.get(number, 200)) as server:
        found = sent(server, 12)
    assert found.count("status") == 2
    assert {"status 500", "status 401"} <= set(found.wrong)
    # what was cut before any answer is asked again where the connection had been used before
    assert found.count("reset") <= 1
    assert found.answered + found.errors == 12


def test_a_server_that_is_gone_refuses(pem: Path) -> None:
    """Every request is told of."""
    with serving(pem, always(200)) as server:
        pass
    found = sent(server, 5)
    assert (found.answered, dict(found.wrong)) == (0, {"refused": 5})


def test_only_the_runs_own_certificate_is_trusted(pem: Path, tmp_path: Path) -> None:
    """Another authority's, and one that has expired, are failures of TLS with OpenSSL's reason."""
    other = certificate(tmp_path)
    with serving(pem, always(200)) as server:
        found = sent(server, 3, ca=Path(f"{other}.crt").read_text())
    assert found.count("tls") == 3
    assert "self-signed" in found.told() or "issuer" in found.told()


def test_an_expired_certificate_is_told(tmp_path: Path) -> None:
    """It ended yesterday."""
    old = certificate(tmp_path, days=-1)
    with serving(old, always(200)) as server:
        found = sent(server, 2)
    assert found.answered == 0
    assert "certificate has expired" in found.told()


@pytest.mark.parametrize(("status", "told"), [(401, "3 status 401"), (500, "3 status 500")])
def test_answers_that_are_all_errors_are_a_failure(pem: Path, status: int, told: str) -> None:
    """A token that is refused and a server that is broken: no figure, and the reason says which."""
    with serving(pem, always(status)) as server:
        wanted = {"url": server.url, "token": SECRET, "ca": server.certificate, "timeout_s": 5.0}
        said = run_sender({**wanted, "requests": 3, "per_s": PER_S})
    raw = {"requests.csv": said, "asked.json": '{"requests": 3, "workers": 0, "list_bytes": 1}'}
    with pytest.raises(ToolError, match=f"none of 3 requests was answered: {told}"):
        measurement_named("api").parse(raw, question("native-1450"))


def test_half_a_table_is_no_measurement() -> None:
    """A sender that was killed has not told of all."""
    with pytest.raises(ToolError, match="no table of requests: nothing was said"):
        parse_sender("", 5)
    with pytest.raises(ToolError, match="0 of 5 requests are told of"):
        parse_sender(",".join(api_requests.SENDER_COLUMNS), 5)


def test_answers_fall_behind_or_do_not() -> None:
    """A constant delay, and one late answer in ten, are no saturation; answers at a tenth less than the rate are."""
    due = np.arange(50) / 10
    late = np.where(np.arange(50) % 10 == 3, 1.0, 0.01)
    assert api_requests.behind(due, np.full(50, 0.7)) is False
    assert api_requests.behind(due, late) is False
    assert api_requests.behind(due, 0.01 + 0.12 * due) is True
    assert api_requests.behind(due[:1], late[:1]) is None
