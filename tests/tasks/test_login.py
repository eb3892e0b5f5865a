"""Which logins are tried again, and in which words one fails."""

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest
from nornir.core.configuration import Config
from nornir.core.inventory import ConnectionOptions, Defaults, Host
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from inventory.lines import Line, line_of
from inventory.load import load
from tasks.login import Login, PassingError, Retries, log_in, login_of, may_retry, reason_of
from vpnmesh.errors import NodeUnreachableError, TurnEndedError

SOON = Retries(attempts=3, within_s=30, first_wait_s=0.01, most_wait_s=0.05)


def go_on() -> None:
    """Nobody ended the task."""


@pytest.mark.parametrize(
    ("error", "again", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), True, "connection refused"),
        (ConnectionResetError(errno.ECONNRESET, "x"), True, "connection reset before the login"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), True, "No route to host"),
        (EOFError(), True, "connection closed before the login"),
        (
            PassingError("connection closed before the greeting"),
            True,
            "connection closed before the greeting",
        ),
        (socket.gaierror(socket.EAI_AGAIN, "x"), True, "its name is not known to DNS"),
        (socket.gaierror(socket.EAI_NONAME, "x"), False, "its name is not known to DNS"),
        (
            paramiko.SSHException("Error reading SSH protocol banner"),
            True,
            "connection closed in its greeting",
        ),
        (OSError(errno.EMFILE, "Too many open files"), False, "Too many open files"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), False, "No such file or directory"),
        (
            paramiko.AuthenticationException("Authentication failed."),
            False,
            "login refused: Authentication failed.",
        ),
        (
            paramiko.SSHException("Server 'a' not found in known_hosts"),
            False,
            "its host key is not known (python -m workflows.inventory trust)",
        ),
        (paramiko.SSHException("no acceptable ciphers"), False, "SSHException no acceptable ciphers"),
    ],
)
def test_what_is_tried_again(error: BaseException, *, again: bool, said: str) -> None:
    """A connection that did not come about, yes; what the node or we refused, never."""
    assert (again, said) == (may_retry(error), reason_of(error))


@contextlib.contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[socket.socket]]]:
    """A TCP server that answers every connection so; its port, and the connections that came."""
    seen: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    seen.append(listening.accept()[0])
                    answer(seen[-1])

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1], seen
        listening.shutdown(socket.SHUT_RDWR)
    for one in seen:
        one.close()


def host_at(port: int, **extras: object) -> Host:
    options = {"netmiko": ConnectionOptions(platform="linux", extras={"ssh_strict": True, **extras})}
    return Host(
        name="w1",
        hostname="127.0.0.1",
        port=port,
        username="root",
        password="x",
        defaults=Defaults(connection_options=options),
    )


def refused(host: Host, retries: Retries = SOON) -> str:
    with pytest.raises(NodeUnreachableError) as caught:
        log_in(host, Config(), line_of(host), go_on, retries)
    assert line_of(host).sock is None
    return str(caught.value)


def test_a_node_that_hangs_up_is_asked_three_times() -> None:
    """As sshd does where too many log in at once; the attempts are said."""
    with server(lambda one: one.close()) as (port, seen):
        host = host_at(port, conn_timeout=7)
        said = refused(host)
    assert said == f"w1: no SSH: connection closed before the greeting (3 attempts) at 127.0.0.1:{port}"
    assert len(seen) == 3
    assert line_of(host).within_s == 7


@pytest.mark.parametrize(
    ("greeting", "times", "said"),
    [
        (b"Exceeded MaxStartups\r\n", 3, "too many log in there at once (MaxStartups) (3 attempts)"),
        (b"Not allowed at this time\r\n", 1, "it takes no login from here for a while (PerSourcePenalties)"),
        (b"220 mail.example\r\n", 3, "connection closed in its greeting (3 attempts)"),
    ],
)
def test_a_server_that_says_why_it_takes_nobody(greeting: bytes, times: int, said: str) -> None:
    """In sshd's own words; one that holds it against us is not asked again, for that would prolong it."""

    def answer(one: socket.socket) -> None:
        # whoever has read enough hangs up first
        with contextlib.suppress(OSError):
            one.sendall(greeting)
            one.shutdown(socket.SHUT_WR)

    with server(answer) as (port, seen):
        assert refused(host_at(port)) == f"w1: no SSH: {said} at 127.0.0.1:{port}"
    assert len(seen) == times


def test_a_mute_node_is_told_from_one_that_is_not_there() -> None:
    """It accepts and never greets; the other refuses."""
    with server(lambda _: None) as (port, _seen):
        said = refused(host_at(port, conn_timeout=0.2), Retries(attempts=1))
    assert said == f"w1: no SSH: connected, but no SSH greeting within 0.2 s at 127.0.0.1:{port}"
    assert refused(host_at(port)) == f"w1: no SSH: connection refused (3 attempts) at 127.0.0.1:{port}"


def test_time_ends_the_attempts_too() -> None:
    """Two that wait for a greeting use it up."""
    with server(lambda _: None) as (port, seen):
        refused(host_at(port, conn_timeout=0.2), Retries(attempts=9, within_s=0.3, first_wait_s=0.01))
    assert len(seen) == 2


def test_a_task_that_was_ended_is_not_tried_again() -> None:
    """Between two attempts it is looked at, and the reason is the task's, not the node's."""
    with server(lambda one: one.close()) as (port, seen):

        def ended() -> None:
            if seen:
                raise TurnEndedError("w1", "interrupted")

        host = host_at(port)
        with pytest.raises(TurnEndedError):
            log_in(host, Config(), line_of(host), ended, SOON)
    assert len(seen) == 1


class Node(paramiko.ServerInterface):
    """Lets everybody in, and opens sessions only where it is told to; `asked` counts what was asked for."""

    def __init__(self, *, opens: bool) -> None:
        self.opens, self.asked, self.lines = opens, 0, list[paramiko.Transport]()

    def check_auth_password(self, username: str, password: str) -> int:
        return AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        self.asked += 1
        if not self.opens:
            self.lines[-1].close()
        return OPEN_SUCCEEDED

    def answer(self, key: paramiko.PKey, one: socket.socket) -> None:
        """Greet, and stay as long as the connection does."""
        self.lines.append(paramiko.Transport(one))
        self.lines[-1].add_server_key(key)
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self.lines[-1].start_server(server=self)


@contextlib.contextmanager
def sshd(known_hosts: Path, *, opens: bool) -> Iterator[tuple[Host, Node]]:
    key, node = paramiko.ECDSAKey.generate(), Node(opens=opens)
    with server(partial(node.answer, key)) as (port, _):
        known_hosts.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
        yield host_at(port, alt_host_keys=True, alt_key_file=str(known_hosts)), node
        for line in node.lines:
            line.close()


def test_the_first_session_is_part_of_the_login(tmp_path: Path) -> None:
    """The first script takes it, once; another login's is never taken for this one's."""
    with sshd(tmp_path / "known_hosts", opens=True) as (host, node):
        line = line_of(host)
        log_in(host, Config(), line, go_on, SOON)
        assert node.asked == 1
        assert line.client is not None
        transport = line.client.get_transport()
        assert transport is not None
        session = line.standing.session(transport)
        assert session is not None
        assert not session.closed
        assert line.standing.session(transport) is None
        line.standing.bring(session)
        line.close()
        log_in(host, Config(), line, go_on, SOON)
        other = line.client.get_transport()
        assert other is not None
        assert line.standing.session(other) is not session
        line.close()


def test_a_node_that_opens_no_session_is_asked_again(tmp_path: Path) -> None:
    """Nothing was sent yet; in the end it says how far the login came."""
    with sshd(tmp_path / "known_hosts", opens=False) as (host, node):
        said = refused(host)
    assert node.asked == 3
    ended = "w1: no SSH: logged in, but no session opened: the connection ended (3 attempts)"
    assert said.startswith(ended), said


def test_a_login_that_waits_for_its_greeting_is_cut() -> None:
    """By another thread, long before its time is over."""
    with server(lambda _: None) as (port, seen):
        host = host_at(port, conn_timeout=300)
        line: Line = line_of(host)

        def ended() -> None:
            if seen:
                raise TurnEndedError("w1", "interrupted")

        threading.Timer(0.3, line.cut).start()
        with pytest.raises(TurnEndedError):
            log_in(host, Config(), line, ended, SOON)


def test_netmikos_options_say_how_to_log_in() -> None:
    """Nothing is opened, and no filter stays with netmiko's log."""
    import logging  # noqa: PLC0415 - only here

    before = list(logging.getLogger("netmiko").filters)
    login: Login = login_of(host_at(2222, conn_timeout=7), Config())
    assert (login.address, login.within_s, login.proxied) == ("127.0.0.1:2222", 7.0, False)
    assert before == logging.getLogger("netmiko").filters
    assert login_of(host_at(22, sock=SimpleNamespace()), Config()).proxied


def test_a_proxy_in_the_users_ssh_configuration_is_seen(tmp_path: Any) -> None:
    """All hosts behind one share its logins."""
    path = tmp_path / "config"
    path.write_text("Host 127.0.0.1\n  ProxyJump jump\n")
    assert login_of(host_at(22, ssh_config_file=str(path)), Config()).proxied


def test_the_users_own_keys_are_tried_where_the_inventory_names_none() -> None:
    """As the machines that ship say it: `use_keys` alone means the usual files below ~/.ssh."""
    nr, _ = load("baremetal")
    host = nr.inventory.hosts["relay"]
    options = login_of(host, nr.config).settings._connect_params_dict()
    assert (options["look_for_keys"], options["key_filename"]) == (True, None)
