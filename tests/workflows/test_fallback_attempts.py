"""What an attempt of the fallback study makes of what goes wrong, without a testbed."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.workflows.test_nat_grid_cells_run import failing
from vpnmesh.errors import CheckError, NodeUnreachableError
from vpnmesh.model import Testbed
from vpnmesh.study.fallback import event_named
from workflows.run import fallback
from workflows.run.fallback import Timing
from workflows.run.hosts import HostsFailedError

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
