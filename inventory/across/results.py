"""A task's results as plain values on the worker, and as Nornir's own again on the controller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nornir.core.inventory import Host
from nornir.core.task import MultiResult, Result

from inventory.across.parcel import is_plain, loaded
from vpnmesh.errors import VpnmeshError

_KNOWN = frozenset({"host", "result", "changed", "diff", "failed", "exception", "name", "severity_level"})


class DaskTaskError(VpnmeshError):
    """A task that failed on a worker with an error that the project does not define; `kind` is its name there."""

    def __init__(self, host: str, worker: str, kind: str, text: str) -> None:
        self.host = host
        self.worker = worker
        self.kind = kind
        self.text = text
        super().__init__(f"{host}: {kind} on Dask worker {worker}: {text}")


@dataclass(frozen=True, slots=True)
class PlainError:
    """An error by the name of its class, its fields, and what it says."""

    module: str
    kind: str
    args: tuple[object, ...]
    fields: Mapping[str, object]
    text: str


@dataclass(frozen=True, slots=True)
class PlainResult:
    """A Result without its host; `more` are attributes that the task added."""

    name: str | None
    result: object
    changed: bool
    diff: str
    failed: bool
    severity_level: int
    error: PlainError | None = None
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlainResults:
    """A task's result and those of its subtasks."""

    name: str
    results: tuple["PlainResult | PlainResults", ...]


def plain_results(results: MultiResult, package: str) -> PlainResults:
    """All results as plain values; one that is none becomes a failed result that says so."""
    # Nornir keeps the results of a subtask's subtasks as one of the outer ones, and calls both a Result
    held: Sequence[Result | MultiResult] = results
    parts = (
        plain_results(one, package) if isinstance(one, MultiResult) else _plain(one, package) for one in held
    )
    return PlainResults(results.name, tuple(parts))


def _plain(result: Result, package: str) -> PlainResult:
    error = result.exception
    plain = PlainResult(
        result.name,
        result.result,
        bool(result.changed),
        str(result.diff),
        bool(result.failed),
        result.severity_level,
        None if error is None else _plain_error(error, package),
        {key: value for key, value in vars(result).items() if key not in _KNOWN and value is not None},
    )
    if is_plain(plain, (package,)):
        return plain
    kind = type(result.result).__name__
    said = f"its result ({kind}) is no plain value and cannot come back from a Dask worker"
    lost = PlainError("vpnmesh.errors", "VpnmeshError", (said,), {}, said)
    return replace(plain, result=said, failed=True, error=lost, more={})


def _plain_error(error: BaseException, package: str) -> PlainError:
    kind = type(error)
    fields = {key: value for key, value in vars(error).items() if is_plain(value, (package,))}
    args = tuple(one if is_plain(one, (package,)) else str(one) for one in error.args)
    return PlainError(kind.__module__, kind.__qualname__, args, fields, str(error))


def nornir_results(plain: PlainResults, host: Host, worker: str) -> MultiResult:
    """What Nornir hands to whoever ran the task."""
    results = MultiResult(plain.name)
    for one in plain.results:
        if isinstance(one, PlainResults):
            results.append(nornir_results(one, host, worker))  # type: ignore[arg-type]  # as above
        else:
            results.append(_nornir_result(one, host, worker))
    return results


def _nornir_result(plain: PlainResult, host: Host, worker: str) -> Result:
    error = None if plain.error is None else error_of(plain.error, host.name, worker)
    result = Result(
        host,
        plain.result,
        plain.changed,
        plain.diff,
        plain.failed,
        error,
        plain.severity_level,
        **plain.more,
    )
    vars(result)["name"] = plain.name
    return result


def error_of(plain: PlainError, host: str, worker: str) -> BaseException:
    """The error itself where the project defines it, with its fields; else a DaskTaskError that says it in words."""
    kind = loaded(plain.module, plain.kind)
    if not isinstance(kind, type) or not issubclass(kind, VpnmeshError):
        return DaskTaskError(host, worker, plain.kind, plain.text)
    error = kind.__new__(kind, *plain.args)
    error.args = plain.args
    vars(error).update(plain.fields)
    return error


def failed_results(task: str, host: Host, error: VpnmeshError) -> MultiResult:
    """A failed result with that reason, of a task that no worker answered for."""
    results = MultiResult(task)
    result = Result(host, str(error), failed=True, exception=error)
    vars(result)["name"] = task
    results.append(result)
    return results
