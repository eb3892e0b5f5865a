"""What reading a fleet from NetBox costs, beside nornir-netbox reading its devices alone; and running tasks on it.

1000 devices with two interfaces, two addresses, a VLAN and a prefix each are made through NetBox's ORM on a real
server. Every reading is a process of its own, since peak memory is a process's; the two sides take turns. Prints
figures, judges nothing.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from bench.figures import Figure, Size, peak_mb, spread

PROJECT = Path(__file__).resolve().parents[1]
DEVICES = 1000
HOSTS = 5000
TURNS = 5
WAIT_S = 0.2


def vpnmesh() -> dict[str, float]:
    """Devices, machines, interfaces, VLANs, prefixes and addresses by `NetBoxInventory`, joined."""
    from inventory.netbox import NetBoxInventory  # noqa: PLC0415 - each reading loads only what it measures

    before = peak_mb()
    start = time.monotonic()
    plugin = NetBoxInventory()
    inventory = plugin.load()
    seconds = time.monotonic() - start
    groups = sum(name.startswith("vlan__") for name in inventory.groups)
    return {**_result(seconds, before, plugin.netbox.sent), "hosts": len(inventory.hosts), "vlans": groups}


def nornir_netbox() -> dict[str, float]:
    """Devices alone by nornir-netbox's `NetBoxInventory2`: no interfaces, VLANs or addresses."""
    import requests  # noqa: PLC0415
    from nornir_netbox.plugins.inventory.netbox import NetBoxInventory2  # noqa: PLC0415

    sent, send = [], requests.Session.send

    def counting(*arguments: Any, **options: Any) -> requests.Response:
        sent.append(1)
        return send(*arguments, **options)

    requests.Session.send = counting  # type: ignore[method-assign]
    before = peak_mb()
    start = time.monotonic()
    url, token = os.environ["NETBOX_URL"], os.environ["NETBOX_TOKEN"]
    hosts = NetBoxInventory2(url, token).load().hosts
    return {**_result(time.monotonic() - start, before, len(sent)), "hosts": len(hosts)}


def _result(seconds: float, before_mb: float, sent: int) -> dict[str, float]:
    return {"requests": sent, "seconds": seconds, "mb": peak_mb() - before_mb}


def runners() -> dict[str, float]:
    """A task that does nothing and one that waits, on 5000 hosts: our number of workers, and ThreadedRunner(20)."""
    from nornir.core import Nornir  # noqa: PLC0415
    from nornir.core.inventory import Defaults, Groups, Host, Hosts, Inventory  # noqa: PLC0415
    from nornir.core.task import Result, Task  # noqa: PLC0415
    from nornir.plugins.runners import ThreadedRunner  # noqa: PLC0415

    from inventory.limits import workers_for  # noqa: PLC0415

    def nothing(task: Task) -> Result:
        return Result(host=task.host)

    def waiting(task: Task) -> Result:
        time.sleep(WAIT_S)
        return Result(host=task.host)

    count = int(os.environ.get("BENCH_HOSTS", HOSTS))
    hosts = Hosts({f"h{number}": Host(name=f"h{number}") for number in range(count)})
    nr = Nornir(inventory=Inventory(hosts=hosts, groups=Groups(), defaults=Defaults()))
    found: dict[str, float] = {"workers": workers_for(count)}
    for name, workers in (("chosen", workers_for(count)), ("twenty", 20)):
        for task in (nothing, waiting):
            start = time.monotonic()
            nr.with_runner(ThreadedRunner(workers)).run(task)
            found[f"{name}_{task.__name__}"] = time.monotonic() - start
    return found


TASKS: Mapping[str, Callable[[], dict[str, float]]] = {
    task.__name__: task for task in (vpnmesh, nornir_netbox, runners)
}


def measure(task: str, environment: Mapping[str, str]) -> dict[str, float]:
    """One task in a process of its own."""
    argv = (sys.executable, "-m", "bench.netbox", task)
    done = subprocess.run(
        argv, check=True, capture_output=True, text=True, cwd=PROJECT, env={**os.environ, **environment}
    )
    return {str(name): float(value) for name, value in json.loads(done.stdout).items()}


def run(console: Console, size: Size) -> list[Figure]:
    """The readings side by side, unless no NetBox can run here, and the runners."""
    from tests.netbox.install import CannotRunError  # noqa: PLC0415 - only the whole bench needs the server

    try:
        figures = _readings(console, size)
    except CannotRunError as error:
        figures = [Figure("reading NetBox", f"not measured: {error}")]
    return [*figures, *_runner_figures(size)]


def _runner_figures(size: Size) -> list[Figure]:
    hosts = size.of(HOSTS, 100)
    found = measure("runners", {"BENCH_HOSTS": str(hosts)})
    what = {"nothing": "a task that does nothing", "waiting": f"a task that waits {WAIT_S} s"}
    return [
        Figure(
            f"{words} on {hosts} hosts",
            f"{found[f'chosen_{name}']:.2f} s with {found['workers']:.0f} workers (chosen)",
            f"{found[f'twenty_{name}']:.2f} s with ThreadedRunner(20)",
            f"{found[f'chosen_{name}'] / found[f'twenty_{name}']:.2f}",
        )
        for name, words in what.items()
    ]


def _readings(console: Console, size: Size) -> list[Figure]:
    from tests.netbox.fleet import script  # noqa: PLC0415
    from tests.netbox.server import TOKEN_V1, NetBoxServer  # noqa: PLC0415

    devices, turns = size.of(DEVICES, 10), size.of(TURNS, 1)
    with NetBoxServer() as server:
        server.shell(script(devices))
        environment = {"NETBOX_URL": server.url, "NETBOX_TOKEN": TOKEN_V1}
        sides: dict[str, list[dict[str, float]]] = {"vpnmesh": [], "nornir_netbox": []}
        for side in sides:
            measure(side, environment)  # fills NetBox's caches, and is not counted
        for side in list(sides) * turns:
            console.print(f"netbox: {side}", style="dim", highlight=False)
            sides[side].append(measure(side, environment))
    ours, theirs = sides["vpnmesh"], sides["nornir_netbox"]
    ratio = median(one["seconds"] for one in ours) / median(one["seconds"] for one in theirs)
    what = (
        f"reading {devices} devices: ours with interfaces, VLANs and addresses, nornir-netbox devices alone"
    )
    return [Figure(what, _told(ours), _told(theirs), f"{ratio:.2f}")]


def _told(readings: Sequence[Mapping[str, float]]) -> str:
    seconds, typical = [one["seconds"] for one in readings], readings[0]
    return f"{spread(seconds)} s, {typical['requests']:.0f} requests, {median(one['mb'] for one in readings):.0f} MB"


if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]]()))
