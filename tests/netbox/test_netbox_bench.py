"""The benchmark of NetBox still runs to its end, on the server of these tests: another takes a minute to start."""

from contextlib import nullcontext

import pytest
from rich.console import Console

from bench import netbox
from bench.figures import Size
from tests.netbox import server
from tests.netbox.server import NetBoxServer


def test_the_benchmark_runs_to_its_end(empty: NetBoxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten devices, read by both sides in processes of their own; and the runners."""
    monkeypatch.setattr(server, "NetBoxServer", lambda: nullcontext(empty))
    reading, *runners = netbox.run(Console(quiet=True), Size.SMOKE)
    assert reading.what.startswith("reading 10 devices: ours with interfaces, VLANs and addresses")
    assert " requests, " in reading.figure
    assert " requests, " in reading.against
    assert float(reading.ratio) > 0
    assert [one.what.endswith("on 100 hosts") for one in runners] == [True, True]
