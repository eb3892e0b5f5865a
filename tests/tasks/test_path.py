"""The probe that proves a path: how often it is sent, and when its answer counts."""

from types import SimpleNamespace
from typing import Any

import pytest

from tasks import path
from vpnmesh.errors import CheckError
from vpnmesh.model import Testbed
from vpnmesh.tools.ping import PingSummary


class Answers:
    """A node whose probes come back as given, and a relay whose counter goes up by what passes it."""

    def __init__(self, *received: int) -> None:
        self.received = list(received)
        self.counter = 0

    def gather(self, _fact: object) -> PingSummary:
        """The next probe's summary; every packet there and back passes the relay."""
        came_back = self.received.pop(0)
        self.counter += (path.PROBE_PACKETS + came_back) * (path.PROBE_BYTES + 28)
        return PingSummary(path.PROBE_PACKETS, came_back, None)


def share(answers: Answers, bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> float:
    """What the task says of these answers."""
    monkeypatch.setattr(path, "shell", lambda _task: answers)
    monkeypatch.setattr(path, "shell_of", lambda _task, _host: answers)
    monkeypatch.setattr(path, "sent_bytes", lambda relay, _interface: relay.counter)
    monkeypatch.setattr("time.sleep", lambda _s: None)
    task: Any = SimpleNamespace(host=None)
    others: Any = {bed.relay.name: None}
    found: float = path.probe_relay_share(task, bed, bed.server.name, others).result
    return found


@pytest.mark.parametrize("received", [(1000,), (500,), (109, 1000), (0, 499, 998)])
def test_a_probe_that_tells_nothing_is_sent_again(
    received: tuple[int, ...], bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the probe that came back counts: its bytes alone are in the share."""
    answers = Answers(*received)
    assert share(answers, bed, monkeypatch) == pytest.approx(1.0)
    assert answers.received == []


def test_three_that_tell_nothing_prove_no_path(bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says how many of each came back."""
    with pytest.raises(CheckError, match="of 1000 probes came back 0, then 109, then 499"):
        share(Answers(0, 109, 499, 1000), bed, monkeypatch)
