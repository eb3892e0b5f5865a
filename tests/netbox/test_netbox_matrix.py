"""full_matrix --inventory netbox: the lab built and measured from what NetBox holds."""

import json
import os
import select
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import ROOT
from tests.live.conftest import place_for_a_lab
from tests.needs import needs
from tests.netbox.server import NetBoxServer
from vpnmesh.frames.schemas import check_results

pytestmark = pytest.mark.live
SHORT = (
    "--scenarios",
    "native-1450",
    "--conditions",
    "none",
    "--tests",
    "tcp,ping",
    "--repetitions",
    "1",
    "--duration",
    "1",
)


@contextmanager
def bridge(url: str) -> Iterator[Callable[[], str]]:
    """A way to a loopback server from a network that has another loopback.

    Yields a function to call in that network: it listens there and returns the URL. What it accepts is connected
    onward by threads that were started here, and so stay in the network of their start.
    """
    target = ("127.0.0.1", int(url.rpartition(":")[2]))

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(target) as onward:
                others = {self.request: onward, onward: self.request}
                while others:
                    for ready in select.select(list(others), [], [])[0]:
                        if not (data := ready.recv(1 << 16)):
                            return
                        others[ready].sendall(data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    listening = threading.Event()

    def serve() -> None:
        listening.wait()
        server.serve_forever(0.05)

    def listen() -> str:
        server.socket = socket.create_server(("127.0.0.1", 0))
        listening.set()
        return f"http://127.0.0.1:{server.socket.getsockname()[1]}"

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listen
    finally:
        listening.set()
        server.shutdown()
        thread.join()
        server.server_close()


def run_matrix(inventory: str, run: Path) -> None:
    """A short matrix as a user starts it."""
    argv = (
        sys.executable,
        "-m",
        "workflows.full_matrix",
        "--inventory",
        inventory,
        "--out",
        str(run),
        *SHORT,
    )
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def files(run: Path) -> set[str]:
    """The run directory's files, the raw ones by their last part: the same whatever the inventory was."""
    return {path.name for path in run.rglob("*") if path.is_file()}


def test_matrix_from_netbox_is_the_matrix_from_yaml(
    seeded: NetBoxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same cells, same columns, same files, same testbed in the manifest; every cell measured on real packets."""
    needs(os.geteuid() == 0, "a lab needs root")
    with bridge(seeded.url) as listen, place_for_a_lab(tmp_path / "lab"):
        monkeypatch.setenv("NETBOX_URL", listen())
        runs = {"lab": tmp_path / "from-yaml", "netbox:site=lab": tmp_path / "from-netbox"}
        for inventory, run in runs.items():
            run_matrix(inventory, run)
    yaml, netbox = runs.values()
    assert files(netbox) == files(yaml)
    frames = [check_results(pl.read_parquet(run / "results.parquet"), str(run)) for run in (yaml, netbox)]
    keys = [frame.select("scenario", "condition", "test", "pair", "outcome").sort("test") for frame in frames]
    assert keys[0].equals(keys[1])
    assert frames[0].schema == frames[1].schema
    assert set(frames[1]["outcome"]) == {"measured"}
    manifests = [json.loads((run / "manifest.json").read_text()) for run in (yaml, netbox)]
    assert manifests[0]["testbed"] == manifests[1]["testbed"]
