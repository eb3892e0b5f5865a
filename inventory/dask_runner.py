"""Nornir's runner for hosts that only other sites reach: tasks are run by Dask workers there (docs/dask.md).

`$VPNMESH_DASK=tls://HOST:8786` chooses it for every command, `nr.with_runner(DaskRunner(...))` in a program, and
`runner: {plugin: dask}` in Nornir's configuration. What it needs of Dask is imported when it first runs something.
"""

import logging

from nornir.core.inventory import Host
from nornir.core.task import AggregatedResult, Task

from inventory.across.dispatch import Deadlines, Dispatch
from inventory.across.link import Links
from inventory.across.order import Order
from inventory.across.placing import DaskWorker
from inventory.across.plain_hosts import PlainHost
from inventory.repeating import may_repeat, why_on_controller
from inventory.runner import HOST_DEADLINE_S, BoundedRunner

_NORNIRS_OWN = "nornir.core"
"""The module of `nr.close_connections`, whose task is about the controller's connections."""
_LOG = logging.getLogger("vpnmesh.workers")


class DaskRunner:
    """Runs a task on all hosts, each from the worker that reaches its site.

    `scheduler` and `credentials` are those of the environment where they are not given. A host that is not done
    `host_deadline_s` after its task was sent, or `deadline_s` after the beginning of all, is a failed result with that
    reason. `data_keys` are keys of hosts' data that travel beside those of the testbed. A task that is declared to
    need the controller is run by `local`.
    """

    def __init__(
        self,
        scheduler: str = "",
        credentials: str = "",
        *,
        plain: bool = False,
        host_deadline_s: float | None = HOST_DEADLINE_S,
        deadline_s: float | None = None,
        data_keys: tuple[str, ...] = (),
        local: BoundedRunner | None = None,
    ) -> None:
        found = Links.of_environment()
        self._links = Links(
            scheduler or found.address, credentials or found.credentials, plain or found.plain
        )
        self.deadlines = Deadlines(host_deadline_s, deadline_s)
        self.data_keys = data_keys
        self.local = local or BoundedRunner()
        self._runs: list[Dispatch] = []

    def within(self, host_s: float | None, all_s: float | None = None) -> "DaskRunner":
        """A runner with these deadlines, which shares this one's connection and is stopped with it."""
        other = DaskRunner(
            host_deadline_s=host_s, deadline_s=all_s, data_keys=self.data_keys, local=self.local
        )
        other._links, other._runs = self._links, self._runs
        return other

    def run(self, task: Task, hosts: list[Host]) -> AggregatedResult:
        """Run the task on every host; each has a result, in the hosts' order.

        Raises InputError where task or parameters cannot be sent, and where no scheduler is named or answers.
        """
        why = why_on_controller(task.task)
        if why or task.task.__module__.startswith(_NORNIRS_OWN):
            _LOG.info("%s runs on the controller: %s", task.name, why or "it is about its own connections")
            return self.local.run(task, hosts)
        result = AggregatedResult(task.name)
        if not hosts:
            return result
        dispatch = self._dispatch(task, hosts)
        self._runs.append(dispatch)
        try:
            found = dispatch.all()
        finally:
            self._runs.remove(dispatch)
        result.update({host.name: found[host.name] for host in hosts})
        return result

    def _dispatch(self, task: Task, hosts: list[Host]) -> Dispatch:
        link = self._links.get()
        order = Order.of(task)
        return Dispatch(
            link,
            task,
            hosts,
            {host.name: PlainHost.of(host, self.data_keys) for host in hosts},
            order.packed(link.seal, task.task),
            order.package,
            self.deadlines,
            may_repeat(task.task),
        )

    def workers(self) -> tuple[DaskWorker, ...]:
        """Who is there now."""
        return self._links.get().workers()

    def stop(self, why: str) -> None:
        """End every task in flight; takes no lock, so that a signal may do it."""
        for run in list(self._runs):
            run.stopped = why
        self.local.stop(why)

    def close(self) -> None:
        """End the connection to the scheduler; workers keep theirs to the hosts."""
        self._links.close()
