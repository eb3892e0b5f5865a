"""What runs inside of a Dask worker: it keeps its hosts with their connections, and answers with sealed parcels.

Answers are sent as events over the worker's own connection to the scheduler, so nothing must be able to reach the
worker: it may be behind a firewall that lets nobody in.
"""

import logging
import threading
from typing import Any, cast

from distributed import Worker, WorkerPlugin, get_worker
from nornir.core.inventory import Host
from nornir.core.plugins.connections import ConnectionPluginRegister

from inventory.across.logins import Logins
from inventory.across.order import Order
from inventory.across.parcel import Seal
from inventory.across.plain_hosts import PlainHost
from inventory.across.results import failed_results, plain_results
from inventory.limits import lines_for
from inventory.lines import Turn, cut_all
from inventory.runner import BoundedRunner
from vpnmesh.errors import NodeUnreachableError, VpnmeshError

PLUGIN = "vpnmesh-hosts"
MOST_HOSTS = 2000
"""To how many hosts a worker keeps connections; beyond that, those that were not asked for longest are logged out."""
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
        self._hosts: dict[bytes, Host] = {}
        self._turns: dict[str, Turn] = {}
        self._runner = BoundedRunner(max_connections=lines_for(MOST_HOSTS))
        self._lock = threading.Lock()

    def setup(self, worker: Worker) -> None:
        """Know the kinds of connections that tasks ask for."""
        del worker
        ConnectionPluginRegister.auto_register()

    def teardown(self, worker: Worker) -> None:
        """Log out everywhere."""
        del worker
        cut_all(list(self._hosts.values()))

    def transition(self, key: Any, start: Any, finish: Any, **_: Any) -> None:
        """A task that nobody waits for any more is ended: its host's connection is cut."""
        if start == "executing" and finish in _STOPPED and (turn := self._turns.get(str(key))):
            _LOG.warning("%s: ended on request", turn.host.name)
            turn.end("the controller does not wait for it any more")

    def answer(self, order: bytes, host: bytes, key: str) -> bytes:
        """The results of the order on that host, as a parcel; whatever went wrong is one of them."""
        what: Order = self._seal.open_trusted(order)
        plain: PlainHost = self._seal.open_trusted(host)
        try:
            turn = self._turns[key] = Turn(self._host(plain))
            results = what.run(turn, self._runner)
        except VpnmeshError as error:
            results = failed_results(what.name, Host(plain.name), error)
        finally:
            self._turns.pop(key, None)
        if isinstance(results[0].exception, NodeUnreachableError):
            self._forget(plain)
        return self._seal.pack(plain_results(results, what.package))

    def _host(self, plain: PlainHost) -> Host:
        """The worker's own host of that description; a new one is made with the login that the worker finds for it."""
        with self._lock:
            held = self._hosts.get(plain.digest)
            if held is not None:
                return held
        made = plain.with_login(self._logins.of(plain.name))
        with self._lock:
            return self._hosts.setdefault(plain.digest, made)

    def _forget(self, plain: PlainHost) -> None:
        """Log in anew next time, with what the login's file says by then."""
        with self._lock:
            host = self._hosts.pop(plain.digest, None)
        if host is not None:
            host.close_connections()
