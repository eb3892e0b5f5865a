"""A scheduler and a worker as processes: they run until a signal ends them, or what they depend on is gone."""

import asyncio
import contextlib
import logging
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from distributed import Scheduler, Worker

from inventory.across.certificates import PLAIN, TLS, Credentials, checked_address
from inventory.across.logins import Logins
from inventory.across.placing import resources
from inventory.across.settings import apply_settings
from inventory.across.worker import HostsPlugin
from inventory.patience import patient_threads
from vpnmesh.errors import VpnmeshError

JOIN_S = 60.0
"""How long a worker looks for its scheduler before it gives up."""
_NO_PAGES: dict[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
"""Dask always opens a port for its pages: of this one there are none, and it is on loopback."""
_NOT_STARTED = (OSError, TimeoutError, ValueError, RuntimeError)
"""What a start ends in; mostly a RuntimeError of Dask whose cause says why (`distributed.core.Server.start`)."""
Ready = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a worker is started with: its name, the sites it reaches, how many hosts it asks at once."""

    name: str
    sites: tuple[str, ...]
    threads: int


def serve_scheduler(listen: str, own: Credentials | None, ready: Ready) -> None:
    """Run a scheduler at HOST:PORT until SIGINT or SIGTERM; `ready` hears its address."""
    scheme = TLS if own else PLAIN
    parts = urlsplit(checked_address(f"{scheme}://{listen}", "--listen", plain=own is None))
    _quiet()
    asyncio.run(_scheduler(scheme, str(parts.hostname), int(parts.port or 0), own, ready))


async def _scheduler(scheme: str, host: str, port: int, own: Credentials | None, ready: Ready) -> None:
    security = own.security() if own else None
    try:
        async with Scheduler(
            host=host, port=port, protocol=f"{scheme}://", security=security, **_NO_PAGES
        ) as scheduler:
            ready(str(scheduler.address))
            await _until_signal(scheduler.finished())
    except _NOT_STARTED as error:
        why = _why(error)
        said = getattr(why, "strerror", None) or why
        raise VpnmeshError(f"cannot listen at {host}:{port}: {said}") from error


def serve_worker(
    address: str,
    own: Credentials,
    logins: Logins,
    options: WorkerOptions,
    ready: Ready,
    *,
    plain: bool = False,
) -> None:
    """Run a worker until SIGINT or SIGTERM; VpnmeshError once its scheduler is gone, so that it is started anew."""
    checked_address(address, "SCHEDULER", plain=plain)
    _quiet()
    asyncio.run(_worker(address, own, logins, options, ready))


async def _worker(
    address: str, own: Credentials, logins: Logins, options: WorkerOptions, ready: Ready
) -> None:
    with tempfile.TemporaryDirectory(prefix="vpnmesh-worker-") as scratch:
        try:
            async with Worker(
                address,
                name=options.name,
                nthreads=options.threads,
                resources=resources(options.sites),
                security=own.security() if address.startswith(TLS) else None,
                plugins=(HostsPlugin(own.seal(), logins),),
                local_directory=scratch,
                memory_limit=0,
                death_timeout=JOIN_S,
                **_NO_PAGES,
            ) as worker:
                ready(str(worker.address))
                with patient_threads(options.threads):
                    ended = await _until_signal(worker.finished())
        except _NOT_STARTED as error:
            why = _why(error)
            raise VpnmeshError(f"no worker of {address}: {type(why).__name__}: {why}") from error
    if not ended:
        raise VpnmeshError(f"the scheduler at {address} is gone")


def _why(error: BaseException) -> BaseException:
    return error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error


async def _until_signal(finished: Any) -> bool:
    """Wait for a signal (True), or until it has finished by itself (False)."""
    asked = asyncio.Event()
    with _signals(asked.set):
        tasks = {asyncio.ensure_future(finished), asyncio.ensure_future(asked.wait())}
        _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    return asked.is_set()


@contextlib.contextmanager
def _signals(heard: Callable[[], None]) -> Iterator[None]:
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, heard)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _quiet(loggers: Iterable[str] = ("distributed", "tornado")) -> None:
    apply_settings()
    for name in loggers:
        logging.getLogger(name).setLevel(logging.ERROR)
