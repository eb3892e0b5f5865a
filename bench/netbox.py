"""What reading a fleet from NetBox costs, beside nornir-netbox reading its devices alone; and running tasks on it.

1000 devices with two interfaces, two addresses, a VLAN and a prefix each are made through NetBox's ORM on a real
server. Every reading is a process of its own, since peak memory is a process's; the two sides take turns. Prints
figures, judges nothing.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
DEVICES = 1000
HOSTS = 5000
TURNS = 5
WAIT_S = 0.2


def vpnmesh() -> dict[str, float]:
    """Devices, machines, interfaces, VLANs, prefixes and addresses by `NetBoxInventory`, joined."""
    from inventory.netbox import NetBoxInventory  # noqa: PLC0415 - each reading loads only what it measures

    before = _peak_mb()
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
    before = _peak_mb()
    start = time.monotonic()
    url, token = os.environ["NETBOX_URL"], os.environ["NETBOX_TOKEN"]
    hosts = NetBoxInventory2(url, token).load().hosts
    return {**_result(time.monotonic() - start, before, len(sent)), "hosts": len(hosts)}


def _result(seconds: float, before_mb: float, sent: int) -> dict[str, float]:
    return {"requests": sent, "seconds": seconds, "mb": _peak_mb() - before_mb}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def runners() -> dict[str, float]:
    """A task that does nothing and one that waits, on 5000 hosts: our number of workers, and ThreadedRunner(20)."""
    from nornir.core import Nornir  # noqa: PLC0415
    from nornir.core.inventory import Defaults, Groups, Host, Hosts, Inventory  # noqa: PLC0415
    from nornir.core.task import Result, Task  # noqa: PLC0415
    from nornir.plugins.runners import ThreadedRunner  # noqa: PLC0415

    from inventory.testbed import workers_for  # noqa: PLC0415

    def nothing(task: Task) -> Result:
        return Result(host=task.host)

    def waiting(task: Task) -> Result:
        time.sleep(WAIT_S)
        return Result(host=task.host)

    hosts = Hosts({f"h{number}": Host(name=f"h{number}") for number in range(HOSTS)})
    nr = Nornir(inventory=Inventory(hosts=hosts, groups=Groups(), defaults=Defaults()))
    found: dict[str, float] = {"workers": workers_for(HOSTS)}
    for name, workers in (("chosen", workers_for(HOSTS)), ("twenty", 20)):
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


def main() -> None:
    """Print the comparison; without a Python for NetBox print why, and the runners alone."""
    from tests.netbox.install import CannotRunError  # noqa: PLC0415 - only the whole bench needs the server

    try:
        _print_readings()
    except CannotRunError as error:
        print(f"reading NetBox: not measured: {error}")
    found = measure("runners", {})
    print(f"runner on {HOSTS} hosts, seconds: {found['workers']:.0f} workers (chosen) | ThreadedRunner(20)")
    print(f"  task that does nothing      {found['chosen_nothing']:8.2f} | {found['twenty_nothing']:8.2f}")
    print(
        f"  task that waits {WAIT_S} s       {found['chosen_waiting']:8.2f} | {found['twenty_waiting']:8.2f}"
    )


def _print_readings() -> None:
    from tests.netbox.fleet import script  # noqa: PLC0415
    from tests.netbox.server import TOKEN_V1, NetBoxServer  # noqa: PLC0415

    with NetBoxServer() as server:
        server.shell(script(DEVICES))
        environment = {"NETBOX_URL": server.url, "NETBOX_TOKEN": TOKEN_V1}
        sides: dict[str, list[dict[str, float]]] = {name: [] for name in TASKS if name != "runners"}
        for side in sides:
            measure(side, environment)  # fills NetBox's caches, and is not counted
        for side in list(sides) * TURNS:
            sides[side].append(measure(side, environment))
    for side, readings in sides.items():
        typical = {name: median(one[name] for one in readings) for name in readings[0]}
        print(
            f"{side:14} {typical['hosts']:.0f} devices, {typical.get('vlans', 0):.0f} VLANs: "
            f"{typical['requests']:.0f} requests, {typical['seconds']:.2f} s (median of {TURNS}), "
            f"{typical['mb']:.0f} MB"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(TASKS[sys.argv[1]]()))
    else:
        main()
