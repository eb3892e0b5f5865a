"""The driver of a firewall: found among the modules of this package and the entry points of installed packages."""

from typing import Any

from nornir.core.inventory import Host
from nornir.core.task import Task

from tasks.firewall.driver import FirewallDriver, FirewallJob, Say
from tasks.firewall.journal import Journal
from vpnmesh.firewall.pfsense_objects import Mark
from vpnmesh.firewall.session import ChangeOrigin, FirewallSession
from vpnmesh.model import Testbed
from vpnmesh.registry import Registry

GROUP = "vpnmesh.firewall_drivers"
"""The group of entry points by which an installed package offers a driver."""
KEY = "firewall_driver"
"""The key of a host's data that names the driver."""


KNOWN_DRIVERS: Registry[FirewallDriver] = Registry(
    "tasks.firewall", "DRIVER", GROUP, FirewallDriver, word="driver"
)
"""Every known driver by name."""


def driver_of(host: Host) -> FirewallDriver:
    """The driver that the inventory asks for, else the default; UnknownNameError lists the known ones."""
    name = host.get(KEY)
    if not name:
        return next(driver for driver in KNOWN_DRIVERS.values() if driver.is_default)
    return KNOWN_DRIVERS.named(str(name), f"{host.name}: {KEY}")


def origin_of(host: Host, run: str) -> ChangeOrigin:
    """The run's changes on this host's firewall."""
    driver = driver_of(host)
    return ChangeOrigin(run, host.name, driver.name, driver.address(host))


def session_of(
    task: Task, testbed: Testbed, mark: Mark, say: Say, journal: Journal
) -> FirewallSession[Any, Any]:
    """Begin a run's work on the task's host; the journal is where a run remembers what cannot be read."""
    job = FirewallJob(task, testbed, mark, say, journal, origin_of(task.host, mark.run))
    return driver_of(task.host).session(job)
