"""Where benchmarks build: a network and a lab directory of their own, beside whatever runs on this machine."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inventory.load import load
from vpnmesh.errors import UnavailableError
from vpnmesh.lab import kernel
from vpnmesh.lab.inventory_files import read_testbed
from vpnmesh.lab.lifecycle import DEFAULT_PORT_RATE_MBIT_S, up
from vpnmesh.model import Testbed
from workflows.run.site import Site

INVENTORY = Path(__file__).parents[1] / "inventory" / "lab"


def embedded() -> Testbed:
    """The embedded six nodes."""
    return read_testbed(INVENTORY)


@contextmanager
def private_place() -> Iterator[Path]:
    """A fresh network namespace for this thread and all that it starts, and a lab directory that is not there yet."""
    if os.geteuid() != 0:
        raise UnavailableError("root, for namespaces")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    former = os.environ.get("VPNMESH_LAB_DIR")
    with tempfile.TemporaryDirectory() as folder:
        kernel.unshare(kernel.CLONE_NEWNET)
        os.environ["VPNMESH_LAB_DIR"] = f"{folder}/lab"
        try:
            subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
            yield Path(folder)
        finally:
            kernel.enter_network(f"/proc/self/fd/{before}")
            os.close(before)
            os.environ.pop("VPNMESH_LAB_DIR")
            if former is not None:
                os.environ["VPNMESH_LAB_DIR"] = former


@contextmanager
def lab_site(
    port_rate_mbit_s: float | None = DEFAULT_PORT_RATE_MBIT_S, *, kubernetes: bool = False
) -> Iterator[Site]:
    """A lab that is up while this lasts, as a site whose nodes answer."""
    with (
        private_place(),
        up(embedded(), port_rate_mbit_s=port_rate_mbit_s, kubernetes=kubernetes, owned=True),
    ):
        nr, testbed = load("lab")
        try:
            yield Site(nr, testbed)
        finally:
            nr.close_connections()
