"""Logging in: one SSH connection a host, by the netmiko settings of the inventory, without netmiko's terminal.

What may be tried again is what failed before anything was sent to the node's shell: a refused or lost connection, no
greeting. A login that the node refused, or a host key that is not the known one, is never tried again.
"""

import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import paramiko
from netmiko import BaseConnection
from nornir.core.configuration import Config
from nornir.core.inventory import Host
from nornir_netmiko.connections import Netmiko
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from inventory.host_keys import LOGIN
from inventory.lines import Line
from inventory.secrets import secret_of
from tasks.known_hosts import known_hosts, private_key
from vpnmesh.errors import NodeUnreachableError

AT_ONCE_PER_SERVER = 8
"""Logins under way at one address: sshd drops some of more than ten (MaxStartups 10:30:100)."""

AT_ONCE = 64
"""Key exchanges at once in all: more take turns on the processor until the first run into their time limit."""

SESSION_S = 30.0
"""How long a key exchange may take once the node has greeted, and then the first session."""

KEEPALIVE_S = 5
"""A node that dies without a word is noticed, not waited for."""

_log = logging.getLogger("vpnmesh.hosts")


Refuse = Callable[[], None]
"""Raises where the task was ended meanwhile."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a login is tried, at most so long after the first began; waits are random, up to twice as long."""

    attempts: int = 3
    within_s: float = 20.0
    first_wait_s: float = 0.25
    most_wait_s: float = 4.0

    def __call__(self, refuse: Refuse) -> Retrying:
        """The attempts; `refuse` raises where the task was ended meanwhile."""
        return Retrying(
            stop=stop_after_attempt(self.attempts) | stop_after_delay(self.within_s),
            wait=wait_random_exponential(multiplier=self.first_wait_s, max=self.most_wait_s),
            retry=retry_if_exception(may_retry),
            before_sleep=lambda _: refuse(),
            reraise=True,
        )


class QuietTransport(paramiko.Transport):
    """paramiko's transport, which looks for its end once a second, not ten times.

    A thousand open connections would wake ten thousand times a second. Encryption and integrity in one step come
    first where the node has them: they cost Python one call a packet.
    """

    _active_check_timeout = 1.0
    _preferred_ciphers = (
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        *(name for name in vars(paramiko.Transport)["_preferred_ciphers"] if "gcm" not in name),
    )


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in to one host: where, with what, and how long to wait."""

    settings: BaseConnection
    address: str
    proxied: bool

    @property
    def within_s(self) -> float:
        """How long a connection, and then a greeting, may take."""
        return float(self.settings.conn_timeout)

    @property
    def slots(self) -> threading.BoundedSemaphore:
        """What bounds how many log in there at once; a proxy takes all logins of the hosts behind it."""
        return _slots_of("a proxy" if self.proxied else self.address)

    @property
    def known_as(self) -> str:
        """The host's name in known_hosts."""
        here = self.settings
        return here.host if here.port == _SSH else f"[{here.host}]:{here.port}"

    @property
    def known_in(self) -> list[str]:
        """The files of known hosts, in the order in which they are asked: the first that has the name decides."""
        files = [KNOWN_HOSTS] if self.settings.system_host_keys else []
        return files + ([self.settings.alt_key_file] if self.settings.alt_host_keys else [])

    def options(self) -> dict[str, Any]:
        """The inventory's options in paramiko's words; a proxy's command is started for them."""
        found: dict[str, Any] = self.settings._connect_params_dict()  # noqa: SLF001 - netmiko has no other name for it
        return found


def log_in(host: Host, config: Config, line: Line, refuse: Refuse, retries: Retries) -> None:
    """Fill the line with a client that is logged in; NodeUnreachableError says why there is none."""
    tried = 0
    login: Login | None = None
    try:
        login = login_of(host, config)
        line.within_s = login.within_s
        for attempt in retries(refuse):
            with attempt:
                tried += 1
                _attempt(line, login, refuse)
    except (OSError, EOFError, ValueError, RuntimeError, paramiko.SSHException) as error:
        refuse()
        again = f" ({tried} attempts)" if tried > 1 else ""
        where = login.address if login else ""
        raise NodeUnreachableError(host.name, reason_of(error) + again, where) from error
    if tried > 1:
        _log.info("%s: logged in at attempt %d", host.name, tried)


def login_of(host: Host, config: Config) -> Login:
    """The inventory's netmiko options as netmiko itself reads them, and its secrets; nothing is opened."""
    password, passphrase = secret_of(host, "ssh_password"), secret_of(host, "ssh_passphrase")
    more: dict[str, object] = {"passphrase": passphrase.reveal()} if passphrase else {}
    return _login(host, config, password.reveal() if password else None, more)


def way_to(host: Host, config: Config) -> Login:
    """The same for who does not log in: no secret is asked for, and no login key needs be there."""
    return _login(host, config, None, {"use_keys": False, "key_file": None})


def _login(host: Host, config: Config, password: str | None, more: dict[str, object]) -> Login:
    options = host.get_connection_parameters(LOGIN)
    plugin = Netmiko()
    extras = {**(options.extras or {}), "auto_connect": False, **more}
    # netmiko takes `use_keys` only beside one named file; paramiko itself looks in ~/.ssh for the usual ones
    looks = bool(extras.get("use_keys")) and not extras.get("key_file")
    extras |= {"use_keys": False} if looks else {}
    word = options.password if password is None else password
    plugin.open(options.hostname, options.username, word, options.port, "linux", extras, config)
    settings = plugin.connection
    settings.use_keys = settings.use_keys or looks
    # one filter a connection would stay with netmiko's log until the terminal is closed that is never opened
    logging.getLogger("netmiko").removeFilter(settings._secrets_filter)  # noqa: SLF001 - what its disconnect() does
    return Login(settings, f"{settings.host}:{settings.port}", _proxied(settings))


def may_retry(error: BaseException) -> bool:
    """Whether a login that ended so may be tried again: nothing was sent, and another time it may go well."""
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    if isinstance(error, OSError):
        return error.errno not in _LASTING
    return isinstance(error, EOFError | PassingError) or _NO_BANNER in str(error)


_NO_BANNER = "Error reading SSH protocol banner"
_LASTING = (errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOENT, errno.EMFILE, errno.ENFILE)


class PassingError(paramiko.SSHException):
    """A login that came to nothing before the node was asked to do anything."""


class HeldOffError(paramiko.SSHException):
    """A login that the node refuses for what was before; asking again makes it worse."""


def reason_of(error: BaseException) -> str:
    """Why there is no login, in few words that are the same for all hosts that have it."""
    for kind, said in _REASONS:
        if isinstance(error, kind):
            return said
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    if isinstance(error, paramiko.AuthenticationException):
        return f"login refused: {text}"[:200]
    if "not found in known_hosts" in text:
        return "its host key is not known (python -m workflows.inventory trust)"
    if text == "No authentication methods available":
        return "nothing to log in with: no key, no agent and no password (docs/own-machines.md)"
    if text == "Invalid key":
        return "its login key does not open: is the passphrase another one?"
    if _NO_BANNER in text:
        return "connection closed in its greeting"
    plain = isinstance(error, OSError | PassingError | HeldOffError)
    return (text if plain else f"{type(error).__name__} {text}")[:200]


_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (paramiko.BadHostKeyException, "its host key is not the known one"),
    (socket.gaierror, "its name is not known to DNS"),
    (EOFError, "connection closed before the login"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset before the login"),
)


def _attempt(line: Line, login: Login, refuse: Refuse) -> None:
    """One login; whatever it opened is closed where it fails."""
    with contextlib.ExitStack() as held, contextlib.ExitStack() as undo:
        undo.callback(line.close)
        take(login.slots, held, refuse)
        line.client = _client(login)
        options = login.options()
        options["sock"] = options["sock"] or greeted(line, login, refuse)
        take(ALL_SLOTS, held, refuse)
        refuse()
        line.client.connect(
            **{**options, **_key(options), "timeout": SESSION_S},
            transport_factory=cast("Any", QuietTransport),
        )
        transport = line.client.get_transport()
        assert transport is not None
        transport.set_keepalive(KEEPALIVE_S)
        refuse()
        line.standing.bring(_session(transport))
        refuse()
        undo.pop_all()


def _session(transport: paramiko.Transport) -> paramiko.Channel:
    """The first session, opened while the login's slots are held.

    Where a thousand log in, a host that had its slot no more waited for its session beside all of them, and some longer
    than they may.
    """
    try:
        return transport.open_session(timeout=SESSION_S)
    except paramiko.ChannelException:
        raise
    except (OSError, EOFError, paramiko.SSHException) as error:
        # paramiko has one word for a time limit and for a connection that ended meanwhile
        why = str(error).rstrip(".") or "the connection ended"
        raise PassingError(f"logged in, but no session opened: {why}") from error


ALL_SLOTS = threading.BoundedSemaphore(AT_ONCE)


@lru_cache(maxsize=4096)
def _slots_of(_server: str) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(AT_ONCE_PER_SERVER)


def take(slots: threading.BoundedSemaphore, held: contextlib.ExitStack, refuse: Refuse) -> None:
    """Wait for a slot, unless the task is ended meanwhile."""
    while not slots.acquire(timeout=0.5):
        refuse()
    held.callback(slots.release)


def greeted(line: Line, login: Login, refuse: Refuse) -> socket.socket:
    """A TCP connection over which the node has begun to greet; another thread can cut it from its first packet on."""
    settings = login.settings
    last: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(
        settings.host, settings.port, type=socket.SOCK_STREAM
    ):
        line.sock = sock = socket.socket(family, kind, protocol)
        refuse()
        sock.settimeout(login.within_s)
        # no small packet waits for the acknowledgement of the one before: that is 40 ms of every round trip
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(address)
        except TimeoutError as error:
            last = TimeoutError(errno.ETIMEDOUT, f"no connection within {login.within_s:g} s")
            last.__cause__ = error
        except OSError as error:
            last = error
        else:
            _await_greeting(sock, login.within_s)
            return sock
        sock.close()
    raise last or OSError("it has no address")


def _await_greeting(sock: socket.socket, within_s: float) -> None:
    try:
        begun = sock.recv(64, socket.MSG_PEEK)
    except TimeoutError as error:
        raise PassingError(f"connected, but no SSH greeting within {within_s:g} s") from error
    if not begun:
        raise PassingError("connection closed before the greeting")
    if begun.startswith(b"Exceeded MaxStartups"):
        raise PassingError("too many log in there at once (MaxStartups)")
    if begun.startswith(b"Not allowed at this time"):
        # asking again would prolong it
        raise HeldOffError("it takes no login from here for a while (PerSourcePenalties)")


def _key(options: dict[str, object]) -> dict[str, object]:
    """The login key instead of its file's name, so that it is read and decrypted once; paramiko's own way if not."""
    path = options.get("key_filename")
    if not isinstance(path, str) or options.get("pkey") is not None:
        return {}
    for passphrase in (options.get("passphrase") or options.get("password"), None):
        with contextlib.suppress(OSError, ValueError, TypeError, paramiko.SSHException):
            return {"pkey": private_key(path, str(passphrase) if passphrase else None), "key_filename": None}
    return {}


def _client(login: Login) -> paramiko.SSHClient:
    """A client that knows the host's own keys; netmiko's where new keys are to be taken and written down."""
    settings = login.settings
    if not isinstance(settings.key_policy, paramiko.RejectPolicy):
        return settings._build_ssh_client()  # noqa: SLF001 - as netmiko logs in
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(settings.key_policy)
    found = next(filter(None, (known_hosts(file).keys(login.known_as) for file in login.known_in)), [])
    for key in reversed(found):
        # of two keys of one kind the file's first counts
        client.get_host_keys().add(login.known_as, key.get_name(), key)
    return client


_SSH = 22
KNOWN_HOSTS = "~/.ssh/known_hosts"


def _proxied(settings: BaseConnection) -> bool:
    """Whether the way to the host goes through a proxy, of the inventory or of the user's SSH configuration."""
    if settings.sock is not None:
        return True
    path = Path(settings.ssh_config_file or "").expanduser()
    if not settings.ssh_config_file or not path.is_file():
        return False
    found = _ssh_config(path, path.stat().st_mtime_ns).lookup(settings.host)
    return "proxycommand" in found or "proxyjump" in found


@lru_cache(maxsize=4)
def _ssh_config(path: Path, _changed_ns: int) -> paramiko.SSHConfig:
    return paramiko.SSHConfig.from_path(str(path))
