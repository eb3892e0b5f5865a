"""The convergence test's own order: prove, block, unblock, restart; and that it undoes what it did."""

import pytest

from tests.measurements.cases import question
from tests.measurements.silent import ScriptedControl, SilentSession
from vpnmesh.errors import CheckError, UnavailableError
from vpnmesh.measurements.convergence import MEASUREMENT
from vpnmesh.measurements.protocol import Question
from vpnmesh.model import Path


def falls_back(policy: str) -> Path:
    """A mesh that is on its relay while UDP is blocked."""
    return Path.RELAY if policy == "block-udp" else Path.DIRECT


def test_a_mesh_that_falls_back_shows_everything() -> None:
    """All figures; the policy is the scenario's at the end, and the pods are on the new tunnel."""
    control = ScriptedControl(falls_back)
    session = SilentSession(question("headscale-direct", fallback_s=60.0), control)
    MEASUREMENT.ask(session)
    assert control.events == ["block-udp", "allow-all", "restart client", "attach pods"]
    measured = MEASUREMENT.parse(session.raw, session.question)
    assert {sample.name for sample in measured.samples} == {figure.name for figure in MEASUREMENT.figures}
    assert (measured.get("join_s"), measured.get("restart_s")) == (1.5, 0.25)


def test_a_mesh_without_relay_or_daemon_shows_less() -> None:
    """WireGuard in the kernel: it joins and stays."""
    control = ScriptedControl(lambda _: Path.DIRECT, daemons=False)
    session = SilentSession(question("wireguard-direct"), control)
    MEASUREMENT.ask(session)
    measured = MEASUREMENT.parse(session.raw, session.question)
    assert control.events == ["restart client"]
    assert [sample.name for sample in measured.samples] == ["steady_outage_s", "join_s"]


def test_a_fallback_that_never_comes_is_a_path_failure_and_undone() -> None:
    """UDP is allowed again, and what was seen until then is kept."""
    control = ScriptedControl(lambda policy: None if policy == "block-udp" else Path.DIRECT)
    session = SilentSession(question("headscale-direct", fallback_s=60.0), control)
    with pytest.raises(CheckError, match="60 s after UDP was blocked, worker1 is not relay but") as caught:
        MEASUREMENT.ask(session)
    assert caught.value.stage == "path"
    assert control.events == ["block-udp", "allow-all"]
    assert {"steady-worker1.json", "to-relay-ping.txt", "to-relay-worker2.json"} <= set(session.raw)


def test_an_unsteady_path_is_left_alone() -> None:
    """Nothing is blocked or killed; reading the kept probes again says the same."""
    control = ScriptedControl(lambda _: Path.RELAY)
    session = SilentSession(question("headscale-direct", fallback_s=60.0), control)
    with pytest.raises(CheckError, match=r"stability: .* not on the direct path but relay"):
        MEASUREMENT.ask(session)
    assert control.events == []
    with pytest.raises(CheckError, match=r"stability: .* not on the direct path but relay"):
        MEASUREMENT.parse(session.raw, session.question)


def test_it_needs_to_know_its_scenario() -> None:
    """A question of a prompt names none."""
    asked = question("wireguard-direct")
    session = SilentSession(Question(asked.testbed, asked.pair), ScriptedControl())
    with pytest.raises(UnavailableError, match="needs a scenario that is up"):
        MEASUREMENT.ask(session)
