"""What an attempt of the fallback study makes of what goes wrong, without a testbed."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.workflows.test_nat_grid_cells_run import failing
from vpnmesh.errors import CheckError, NodeUnreachableError, UnavailableError
from vpnmesh.model import Testbed
from vpnmesh.study.fallback import Marks, event_named
from vpnmesh.study.fallback_record import Outcome, finished
from vpnmesh.study.scenarios import scenario_named
from workflows.run import fallback
from workflows.run.fallback import Asked, Timing
from workflows.run.hosts import HostsFailedError

OVER = CheckError("lease", "worker1: it has undone by itself what the run made")
ONE = Asked("wireguard", event_named("address-change"), 1, scenario_named("wireguard-direct"))
LOST = HostsFailedError("restore_address", {"worker1": NodeUnreachableError("worker1", "gone")})


@pytest.fixture
def site(bed: Testbed) -> Any:
    """A testbed without a connection, whose nodes are held."""
    lease = SimpleNamespace(unclean=set[str](), prove=lambda: None)
    nr = SimpleNamespace(inventory=SimpleNamespace(hosts={}))
    return SimpleNamespace(nr=nr, testbed=bed, complaints=[], lease=lease)


def test_a_node_that_stays_away_from_home_keeps_what_it_was_to_undo(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sets its own address again when the lease ends; why the attempt failed is still what is raised."""
    happening = SimpleNamespace(prepare=lambda: None, clear=failing(LOST))
    monkeypatch.setattr(fallback, "HAPPENINGS", {"address-change": lambda *_: happening})
    monkeypatch.setattr(fallback, "within", lambda nr, _s: nr)
    monkeypatch.setattr(fallback, "run_on", failing(CheckError("streams", "nothing flows")))
    deployed: Any = SimpleNamespace(solution=SimpleNamespace(fallback_s=None))
    with pytest.raises(CheckError, match="nothing flows"):
        fallback._watched(site, deployed, event_named("address-change"), Timing(), lambda _: None)
    assert (site.lease.unclean, site.complaints) == ({"worker1"}, [str(LOST)])


def test_an_attempt_that_ended_after_its_lease_is_no_figure(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node may have undone event and scenario while the streams flowed; what they said is kept all the same."""

    @contextlib.contextmanager
    def provisioned(_site: object, _scenario: object) -> Iterator[Any]:
        yield SimpleNamespace(data_plane="none")

    kept: list[str] = []
    site.lease.prove = failing(OVER)
    watched = SimpleNamespace(said={"sent": ""}, marks=Marks(0, 1, 2))
    monkeypatch.setattr(fallback, "hold_again", lambda _: None)
    monkeypatch.setattr(fallback, "provisioned", provisioned)
    monkeypatch.setattr(fallback, "_watched", lambda *_: watched)
    monkeypatch.setattr(fallback, "judged", lambda *_: None)
    made = fallback.attempt(site, ONE, Timing(), lambda name, _: kept.append(name), lambda _: None)
    assert (made.outcome, made.stage, made.reason) == (Outcome.FAILED, "lease", str(OVER))
    assert kept == [f"{ONE.name}/sent"]


def test_a_missing_program_is_told_apart_from_what_no_solution_can_do(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that going on tries it again."""
    monkeypatch.setattr(fallback, "hold_again", lambda _: None)
    monkeypatch.setattr(fallback, "provisioned", failing(UnavailableError("wireguard-go is not installed")))
    made = fallback.attempt(site, ONE, Timing(), lambda *_: None, lambda _: None)
    assert (made.outcome, made.stage) == (Outcome.IMPOSSIBLE, "unavailable")
    assert finished([made]) == frozenset()
