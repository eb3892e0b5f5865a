"""What runs inside of a Dask worker: it keeps its hosts with their connections, and answers with sealed parcels.

Answers are sent as events over the worker's own connection to the scheduler, so nothing must be able to reach the
worker: it may be behind a firewall that lets nobody in.
"""

import logging
import threading
from collections import OrderedDict
from typing import Any, cast

from distributed import Worker, WorkerPlugin, get_worker
from nornir.core.inventory import Host
from nornir.core.plugins.connections import ConnectionPluginRegister

from inventory.across.logins import Logins
from inventory.across.order import Order
from inventory.across.parcel import Seal
from inventory.across.plain_hosts import CONNECTION, PlainHost
from inventory.across.results import failed_results, plain_results
from vpnmesh.errors import NodeUnreachableError, VpnmeshError

PLUGIN = "vpnmesh-hosts"
MOST_HOSTS = 2000
"""How many hosts a worker keeps its connections to; of more, those not asked for longest are logged out."""
_STOPPED = ("cancelled", "released", "forgotten")
_LOG = logging.getLogger("vpnmesh.workers")


def hold(parcel: bytes) -> bytes:
    """Keep what all tasks of a run share on the worker, so that it is sent there once."""
    return parcel


def ask(order: bytes, host: bytes, topic: str, number: str) -> None:
    """Run the order on one host and tell the controller; Dask calls this on a worker."""
    worker = get_worker()
    plugin = cast("HostsPlugin", worker.plugins[PLUGIN])
    answer = plugin.answer(order, host, str(worker.get_current_task()))
    worker.log_event(topic, {"number": number, "parcel": answer})


class HostsPlugin(WorkerPlugin):
    """A worker's hosts: each logged in once, used by one task after the other, also of other commands."""

    name = PLUGIN

    def __init__(self, seal: Seal, logins: Logins) -> None:
        self._seal = seal
        self._logins = logins
        self._hosts: OrderedDict[bytes, Host] = OrderedDict()
        self._running: dict[str, Host] = {}
        self._lock = threading.Lock()

    def setup(self, worker: Worker) -> None:
        """Know the kinds of connections that tasks ask for."""
        del worker
        ConnectionPluginRegister.auto_register()

    def teardown(self, worker: Worker) -> None:
        """Log out everywhere."""
        del worker
        for host in list(self._hosts.values()):
            _cut(host)

    def transition(self, key: Any, start: Any, finish: Any, **_: Any) -> None:
        """A task that nobody waits for any more is ended: its host's connection is cut."""
        if start == "executing" and finish in _STOPPED and (host := self._running.get(str(key))):
            _LOG.warning("%s: ended on request", host.name)
            _cut(host)

    def answer(self, order: bytes, host: bytes, key: str) -> bytes:
        """The results of the order on that host, as a parcel; whatever went wrong is one of them."""
        what: Order = self._seal.open_trusted(order)
        plain: PlainHost = self._seal.open_trusted(host)
        try:
            own = self._host(plain)
            self._running[key] = own
            results = what.run(own)
        except VpnmeshError as error:
            results = failed_results(what.name, Host(plain.name), error)
        finally:
            self._running.pop(key, None)
        if isinstance(results[0].exception, NodeUnreachableError):
            self._forget(plain)
        return self._seal.pack(plain_results(results, what.package))

    def _host(self, plain: PlainHost) -> Host:
        """The worker's own host of that description; a new one is made with the login that the worker finds for it."""
        with self._lock:
            held = self._hosts.get(plain.digest)
            if held is not None:
                self._hosts.move_to_end(plain.digest)
                return held
        made = plain.with_login(self._logins.of(plain.name))
        with self._lock:
            held = self._hosts.setdefault(plain.digest, made)
            running = {id(one) for one in self._running.values()}
            idle = [key for key, one in self._hosts.items() if id(one) not in running and one is not held]
            dropped = [self._hosts.pop(key) for key in idle[: max(0, len(self._hosts) - MOST_HOSTS)]]
        for one in dropped:
            _cut(one)
        return held

    def _forget(self, plain: PlainHost) -> None:
        """Log in anew next time, with what the login's file says by then."""
        with self._lock:
            host = self._hosts.pop(plain.digest, None)
        if host is not None:
            _cut(host)


def _cut(host: Host) -> None:
    """End the host's SSH connection at once; a task in it fails with the reason."""
    held = host.connections.get(CONNECTION)
    client = getattr(held.connection, "remote_conn_pre", None) if held else None
    transport = client.get_transport() if client is not None else None
    if transport is not None:
        transport.close()
