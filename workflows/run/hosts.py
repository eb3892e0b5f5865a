"""Running tasks on named hosts: all must answer, none is skipped because it failed before."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nornir.core import Nornir
from nornir.core.filter import F
from nornir.core.task import Result

from inventory.lines import cut_all
from inventory.runner import BoundedRunner
from vpnmesh.errors import NodeUnreachableError, VpnmeshError

# Nornir logs a traceback for every failed task; failures travel as values here and are shown once
logging.getLogger("nornir").addHandler(logging.NullHandler())
logging.getLogger("nornir").propagate = False
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


FEW = 6
"""So many failed hosts are each told with a sentence of their own; of more, those with one reason are counted."""

NAMED = 3
"""How many hosts of one reason are named."""


class HostsFailedError(VpnmeshError):
    """One or more hosts of `asked` on which a task failed; `errors` by host, all of them."""

    def __init__(self, task: str, errors: dict[str, BaseException], asked: int = 0) -> None:
        self.task = task
        self.errors = errors
        self.first = next(iter(errors.values()))
        super().__init__(f"{task}: {summary_of(errors, max(asked, len(errors)))}")


def summary_of(errors: Mapping[str, BaseException], asked: int) -> str:
    """What failed in one line: every host's own sentence, or counts by reason where many failed, the most first.

    For example `17 of 1000 failed: 12 x no SSH: connection refused (w1, w2, w3, ...); 5 x ...`.
    """
    if len(errors) <= FEW:
        return "; ".join(_said(host, error) for host, error in errors.items())
    by_reason: dict[str, list[str]] = {}
    for host, error in errors.items():
        by_reason.setdefault(_reason(host, error), []).append(host)
    counted = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    said = "; ".join(f"{len(hosts)} x {reason} ({_named(hosts)})" for reason, hosts in counted)
    return f"{len(errors)} of {asked} failed: {said}"


def _named(hosts: Sequence[str]) -> str:
    return ", ".join(hosts[:NAMED]) + (", ..." if len(hosts) > NAMED else "")


def _reason(host: str, error: BaseException) -> str:
    """The error without its host, so that hosts that failed alike are one group."""
    if isinstance(error, NodeUnreachableError):
        return f"no SSH: {error.reason}"
    return _said(host, error).removeprefix(f"{host}: ").replace(host, "HOST")


def within(nr: Nornir, host_s: float | None, all_s: float | None = None) -> Nornir:
    """The same hosts with a deadline for a task on each of them, and one for all together; None is without end.

    Nothing changes under a runner that is not ours.
    """
    runner = nr.runner
    return nr.with_runner(runner.within(host_s, all_s)) if isinstance(runner, BoundedRunner) else nr


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
        raise HostsFailedError(getattr(task, "__name__", str(task)), errors, len(wanted))
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
    """End every task in flight and cut every SSH connection, at once; the next task logs in again."""
    if isinstance(nr.runner, BoundedRunner):
        nr.runner.stop("interrupted")
    cut_all(list(nr.inventory.hosts.values()))


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
