"""A lab for the live tests, in a network namespace and a directory of its own, so that several may run at once."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from inventory.load import load
from tests.live.engines import clear_all, has_netem
from tests.live.routed import Routed, routed, small_testbed
from tests.needs import missing, needs
from vpnmesh.impairment.engine import Engine
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.impairment.nfqueue import NfqueueEngine
from vpnmesh.lab import kernel
from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.lab.lifecycle import Lab, down, up
from vpnmesh.lab.nfqueue.build import build
from vpnmesh.model import Testbed
from workflows.run.site import Site

INVENTORY = Path(__file__).parents[2] / "inventory" / "lab"


@contextmanager
def private_network() -> Iterator[None]:
    """Run what is inside in a fresh network namespace with only `lo`, threads and processes started there too."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    kernel.unshare(kernel.CLONE_NEWNET)
    try:
        subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
        yield
    finally:
        kernel.enter_network(f"/proc/self/fd/{before}")
        os.close(before)


@contextmanager
def place_for_a_lab(directory: Path) -> Iterator[Path]:
    """A network and a lab directory (not yet there) that nobody else uses."""
    with private_network(), pytest.MonkeyPatch.context() as environment:
        environment.setenv("VPNMESH_LAB_DIR", str(directory))
        # the firewall journal locks by host name, and every lab has a host of the same name
        environment.setenv("VPNMESH_STATE_DIR", f"{directory}-state")
        yield directory


@pytest.fixture(scope="session")
def root() -> None:
    """Skip without root, which links and namespaces need; fail where CI promises it."""
    needs(os.geteuid() == 0, "a lab needs root")


@pytest.fixture(scope="session")
def testbed() -> Testbed:
    """The embedded six nodes."""
    return read_testbed(INVENTORY)


@pytest.fixture(scope="module")
def lab(root: None, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The embedded lab, up for one module, found by `inventory.load('lab')` through VPNMESH_LAB_DIR."""
    with place_for_a_lab(tmp_path_factory.mktemp("live") / "lab"), up(testbed, owned=True) as standing:
        yield standing
        left = standing.close()
        assert left == ()


@pytest.fixture(name="private_network")
def private_network_factory() -> Callable[[], AbstractContextManager[None]]:
    """For a test that needs one more network."""
    return private_network


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    """The lab as workflows see it."""
    del lab
    site = Site(*load("lab"))
    yield site
    site.nr.close_connections()


@pytest.fixture
def place(root: None, tmp_path: Path) -> Iterator[Path]:
    """Where a test may bring up a lab of its own, beside the module's; one that a failed test left is taken down."""
    with place_for_a_lab(tmp_path / "lab") as directory:
        try:
            yield directory
        finally:
            down()


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """Two workers and the firewall between them, in private namespaces."""
    with routed(small_testbed()) as namespaces:
        yield namespaces


@pytest.fixture(scope="module")
def nfqueue(tmp_path_factory: pytest.TempPathFactory) -> NfqueueEngine:
    return NfqueueEngine(str(build(tmp_path_factory.mktemp("engine") / "vpnmesh-nfq")))


@pytest.fixture(params=["nfqueue", "netem"])
def engine(request: pytest.FixtureRequest, net: Routed) -> Engine:
    """Each engine that this kernel can carry; ours is compiled only where it is used, for an emulator takes minutes."""
    if request.param == "nfqueue":
        ours: NfqueueEngine = request.getfixturevalue("nfqueue")
        return ours
    if not has_netem(net):
        missing("netem", "this kernel has no netem (sch_netem)")
    return NetemEngine()


@pytest.fixture
def impairments_end() -> Iterator[None]:
    """Whatever a test set, the next one finds nothing of it."""
    yield
    clear_all()
