"""The controller's connection to a scheduler: which workers there are, what is sent to them, what they answer."""

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from inventory.across.certificates import Credentials, checked_address
from inventory.across.parcel import Seal
from inventory.across.placing import DaskWorker, dask_workers
from vpnmesh.errors import InputError, VpnmeshError

if TYPE_CHECKING:
    from distributed import Client, Future

SCHEDULER, CREDENTIALS, PLAIN = "VPNMESH_DASK", "VPNMESH_DASK_CREDENTIALS", "VPNMESH_DASK_PLAIN"
"""The environment: a scheduler's address, the folder of credentials, and whether loopback may be unencrypted."""
CONNECT_S = 20.0
GONE = (OSError, TimeoutError, ValueError, RuntimeError, AttributeError, TypeError, CancelledError)
"""What Dask's client raises, by the moment, once its scheduler is gone: its own parts are taken away one by one."""
_GONE = "the connection to the Dask scheduler is lost"
ASK_S = 10.0
Answer = tuple[str, bytes | None]
"""The number of what was sent, and the parcel that came back; None where Dask says that it is over without one."""


class DaskLostError(VpnmeshError):
    """A scheduler that cannot be reached, or is gone."""


def require_dask() -> None:
    """InputError where the extra is not installed."""
    try:
        import distributed  # noqa: F401, PLC0415 - an optional extra
    except ImportError as error:
        way_out = "pip install 'vpnmesh[dask]', or unset VPNMESH_DASK to run without workers"
        raise InputError("Dask workers", f"the package {error.name} is not installed", way_out) from None


@dataclass(slots=True)
class Link:
    """An open connection; `answers` of each run come in by the run's name."""

    client: "Client"
    seal: Seal
    topic: str
    _answers: dict[str, "SimpleQueue[Answer]"] = field(default_factory=dict)

    @classmethod
    def open(cls, address: str, credentials: str, *, plain: bool = False) -> "Link":
        """Connect; InputError for what is written wrong, DaskLostError where nobody answers."""
        require_dask()
        address = checked_address(address, SCHEDULER, plain=plain)
        if not credentials:
            raise InputError(CREDENTIALS, "is not set", "name the folder that `workers init` made")
        own = Credentials.read(Path(credentials), "client")
        from inventory.across.settings import apply_settings  # noqa: PLC0415 - an optional extra

        apply_settings()
        link = cls(_connected(address, own), own.seal(), f"vpnmesh-{secrets.token_hex(8)}")
        link.client.subscribe_topic(link.topic, link._heard)
        return link

    def workers(self) -> tuple[DaskWorker, ...]:
        """Who is there now; DaskLostError where the scheduler does not say."""
        self.require()
        try:
            # not `scheduler_info()`: its answer is kept where the client's own refresh puts one without workers
            scheduler: Any = self.client.scheduler  # None once the connection is lost: AttributeError
            found = self.client.sync(scheduler.identity, n_workers=-1)
        except GONE as error:
            raise DaskLostError(f"{_GONE} ({type(error).__name__})") from error
        return dask_workers(found["workers"])

    def require(self) -> None:
        """DaskLostError where the connection is lost: all that was sent over it is void then."""
        if self.client.status != "running":
            raise DaskLostError(_GONE)

    @contextlib.contextmanager
    def hearing(self, run: str) -> Iterator["SimpleQueue[Answer]"]:
        """The answers of a run, while it lasts."""
        self._answers[run] = SimpleQueue()
        try:
            yield self._answers[run]
        finally:
            del self._answers[run]

    def send(self, worker: DaskWorker, function: Callable[..., Any], *arguments: object) -> "Future[Any]":
        """Have a worker, and no other, call a function."""
        try:
            return self.client.submit(
                function, *arguments, pure=False, workers=[worker.address], allow_other_workers=False
            )
        except GONE as error:
            raise DaskLostError(f"{_GONE} ({type(error).__name__})") from error

    def tell_when_over(self, future: "Future[Any]", run: str, number: str) -> None:
        """Put a word in the run's answers when Dask says that the call is over, in whichever way."""
        future.add_done_callback(lambda _: self._put(run, number, None))

    def close(self) -> None:
        """End the connection."""
        self.client.close(timeout=ASK_S)

    def _heard(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        run, _, number = str(message["number"]).partition("/")
        self._put(run, number, bytes(message["parcel"]))

    def _put(self, run: str, number: str, parcel: bytes | None) -> None:
        # of a run that is over nobody waits for answers
        queue = self._answers.get(run)
        if queue is not None:
            queue.put((number, parcel))


def _connected(address: str, own: Credentials) -> "Client":
    from distributed import Client  # noqa: PLC0415 - an optional extra

    security = own.security() if address.startswith("tls://") else None
    try:
        return Client(
            address,
            security=security,
            timeout=CONNECT_S,
            set_as_default=False,
            direct_to_workers=False,
            serializers=["dask", "msgpack"],
            deserializers=["dask", "msgpack"],
        )
    except (OSError, TimeoutError, ValueError) as error:
        said = f"no Dask scheduler answers at {address} ({type(error).__name__})"
        raise DaskLostError(f"{said}; start one: python -m workflows.workers scheduler") from error


@dataclass(slots=True)
class Links:
    """The link of a runner: opened when it is first needed, once per process."""

    address: str
    credentials: str
    plain: bool = False
    _link: Link | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of_environment(cls) -> "Links":
        """As `$VPNMESH_DASK` and `$VPNMESH_DASK_CREDENTIALS` say."""
        plain = os.environ.get(PLAIN) == "loopback"
        return cls(os.environ.get(SCHEDULER, ""), os.environ.get(CREDENTIALS, ""), plain)

    def get(self) -> Link:
        """The open link; one that was lost is opened anew."""
        with self._lock:
            if self._link is None or self._link.client.status != "running":
                self._link = Link.open(self.address, self.credentials, plain=self.plain)
            return self._link

    def close(self) -> None:
        """End the connection, if there is one."""
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.close()
