"""The shell over a real SSH channel, whose window fills: both streams are read as they come."""

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import IO, cast

import paramiko
import pytest
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from tasks.connection import Attached, Shell
from vpnmesh.errors import CommandError, NodeUnreachableError
from vpnmesh.plan import Command

MEGABYTES = 8
"""Four times paramiko's window, which stdout and stderr of a channel share (RFC 4254, section 5.2)."""


class Server(paramiko.ServerInterface):
    """Lets anybody in and runs what is asked for."""

    def check_auth_none(self, username: str) -> int:
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=serve, args=(channel, command), daemon=True).start()
        return True


def serve(channel: paramiko.Channel, command: bytes) -> None:
    """Run the command with the channel as its three streams, as sshd does."""
    with subprocess.Popen(
        ("sh", "-c", command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        pumps = [
            threading.Thread(target=pump, args=(process.stdout, channel.sendall), daemon=True),
            threading.Thread(target=pump, args=(process.stderr, channel.sendall_stderr), daemon=True),
        ]
        for one in pumps:
            one.start()
        for chunk in iter(lambda: channel.recv(1 << 16), b""):
            process.stdin.write(chunk)
            process.stdin.flush()
        process.stdin.close()
        for one in pumps:
            one.join()
        channel.send_exit_status(process.wait())
        channel.close()


def pump(source: IO[bytes], send: Callable[[bytes], None]) -> None:
    """All of a pipe into one stream of the channel."""
    with contextlib.suppress(OSError):
        for chunk in iter(lambda: os.read(source.fileno(), 1 << 16), b""):
            send(chunk)


class Client:
    """As much of an SSH client as the shell uses."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self.transport = transport

    def get_transport(self) -> paramiko.Transport:
        return self.transport


@pytest.fixture
def link() -> Iterator[tuple[paramiko.Transport, paramiko.Transport]]:
    """Both ends of an SSH connection over a pair of sockets: ours, and the far one."""
    ours, theirs = socket.socketpair()
    far = paramiko.Transport(theirs)
    far.add_server_key(paramiko.RSAKey.generate(2048))
    far.start_server(event=threading.Event(), server=Server())
    near = paramiko.Transport(ours)
    near.start_client(timeout=30)
    near.auth_none("anybody")
    yield near, far
    near.close()
    far.close()


@pytest.fixture
def here(link: tuple[paramiko.Transport, paramiko.Transport]) -> Shell:
    """A shell on this machine."""
    return Shell("node", cast("paramiko.SSHClient", Client(link[0])), sudo=False, marked=True)


@pytest.mark.parametrize("redirect", ["", ">&2"], ids=["stdout", "stderr"])
def test_megabytes_on_either_stream_come_through(here: Shell, redirect: str) -> None:
    """More than the channel's window, then a word on the other stream: nothing waits for the other, nothing is lost."""
    other = "" if redirect else ">&2"
    script = f"head -c {MEGABYTES << 20} /dev/zero | tr '\\0' x {redirect}; echo end {other}"
    done = here.run("sh", "-c", script, timeout_s=5)
    big, small = (done.stderr, done.stdout) if redirect else (done.stdout, done.stderr)
    assert len(big) == MEGABYTES << 20
    assert small == "end\n"


def test_an_attached_process_may_complain_at_length(here: Shell) -> None:
    """What it writes to stderr does not keep it from saying that it is up, and is there at the end."""
    script = f"head -c {MEGABYTES << 20} /dev/zero | tr '\\0' x >&2; echo up; exec sleep 30"
    attached = here.start(("sh", "-c", script), timeout_s=20)
    attached.wait_for("up")
    # the shell says that it was ended, too
    assert attached.stop().stderr.count("x") == MEGABYTES << 20


def stubborn(shell: Shell) -> Attached:
    """A process that does not end when it is told to."""
    attached = shell.start(("sh", "-c", "trap '' TERM; echo up; sleep 20"), timeout_s=20)
    attached.wait_for("up")
    return attached


ASK: dict[str, Callable[[Shell], object]] = {
    "steps": lambda shell: shell.run_all([Command(("echo", "one")), Command(("sleep", "20"))]),
    "an attached process, awaited": lambda shell: shell.start(("sleep", "20"), timeout_s=20).wait_for("up"),
    "an attached process, stopped": lambda shell: stubborn(shell).stop(),
}


@pytest.mark.parametrize("ask", ASK)
def test_a_connection_that_ends_in_mid_answer_is_a_node_that_is_gone(
    ask: str, here: Shell, link: tuple[paramiko.Transport, paramiko.Transport]
) -> None:
    """Not a command that failed: the run files it under `node`, whatever was being asked when the node died."""
    threading.Timer(1.0, link[1].close).start()
    with pytest.raises(NodeUnreachableError, match="the connection ended"):
        ASK[ask](here)


def test_a_shell_that_is_killed_on_a_node_that_lives_is_a_command_that_failed(here: Shell) -> None:
    """The connection is there, so the node is: what was asked next was not answered."""
    with pytest.raises(CommandError):
        here.run_all([Command(("sh", "-c", "kill -9 $(ps -o ppid= $PPID)")), Command(("echo", "two"))])
