"""Running tasks on named hosts: all must answer, none is skipped because it failed before."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nornir.core import Nornir
from nornir.core.filter import F
from nornir.core.task import Result

from vpnmesh.errors import NodeUnreachableError, VpnmeshError

# Nornir logs a traceback for every failed task; failures travel as values here and are shown once
logging.getLogger("nornir").addHandler(logging.NullHandler())
logging.getLogger("nornir").propagate = False
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


class HostsFailedError(VpnmeshError):
    """One or more hosts on which a task failed; `errors` by host, `done` what it did on the others."""

    def __init__(
        self, task: str, errors: dict[str, BaseException], done: dict[str, Result] | None = None
    ) -> None:
        self.task = task
        self.errors = errors
        self.done = done or {}
        self.first = next(iter(errors.values()))
        said = "; ".join(_said(host, error) for host, error in errors.items())
        super().__init__(f"{task}: {said}")


def run_on(
    nr: Nornir, names: Iterable[str], task: Callable[..., Result], **parameters: Any
) -> dict[str, Result]:
    """Run the task on these hosts in parallel and return a Result each.

    Hosts that failed in an earlier run are asked again (Nornir would skip them in silence). Raises
    HostsFailedError when any fails, after all have ended.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    chosen = nr.filter(F(name__in=wanted))
    done = chosen.run(task, on_failed=True, **parameters)
    nr.data.reset_failed_hosts()
    errors: dict[str, BaseException] = {
        name: result.exception or VpnmeshError(str(result.result))
        for name, results in done.items()
        for result in results[:1]
        if result.failed
    }
    errors |= {name: VpnmeshError("was not run: not in the inventory") for name in wanted if name not in done}
    if errors:
        others = {name: done[name][0] for name in wanted if name not in errors}
        raise HostsFailedError(getattr(task, "__name__", str(task)), errors, others)
    return {name: done[name][0] for name in wanted}


def ask_each(
    nr: Nornir, names: Sequence[str], task: Callable[..., Result], **parameters: Any
) -> tuple[dict[str, VpnmeshError], dict[str, Result]]:
    """What failed and what was answered, by node: one dead node does not silence the others."""
    try:
        return {}, run_on(nr, names, task, **parameters)
    except HostsFailedError as error:
        failed = {name: _plain(one) for name, one in error.errors.items()}
    return failed, run_on(nr, [name for name in names if name not in failed], task, **parameters)


def _plain(error: BaseException) -> VpnmeshError:
    return error if isinstance(error, VpnmeshError) else VpnmeshError(f"{type(error).__name__}: {error}")


def abort_connections(nr: Nornir) -> None:
    """Cut every SSH connection, so that tasks in flight end now; the next task logs in again."""
    for host in nr.inventory.hosts.values():
        for connection in list(host.connections.values()):
            client = getattr(connection.connection, "remote_conn_pre", None)
            transport = client.get_transport() if client is not None else None
            if transport is not None:
                with contextlib.suppress(OSError):
                    transport.close()


def _said(host: str, error: BaseException) -> str:
    text = str(error) if isinstance(error, VpnmeshError) else f"{type(error).__name__}: {error}"
    return text if text.startswith(host) else f"{host}: {text}"


def stage_of(error: VpnmeshError, otherwise: str) -> str:
    """The stage that a failed repetition is filed under: `node` when a node stopped answering."""
    first: BaseException = error
    while isinstance(first, HostsFailedError):
        first = first.first
    if isinstance(first, NodeUnreachableError):
        return "node"
    return str(getattr(first, "stage", otherwise))
