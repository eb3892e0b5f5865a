"""The shell that tasks use, against a local `sh`: texts come through unharmed, and what fails is said."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, cast

import paramiko
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nornir.core.inventory import Host
from nornir.core.task import Task

from inventory.lines import line_of
from tasks import connection
from tasks.connection import Shell, shell_of
from tasks.script import ended, rendered
from vpnmesh.errors import CheckError, CommandError, NodeUnreachableError
from vpnmesh.host.lease import fence
from vpnmesh.plan import Command, Completed, Fact, Secret, Step, WriteFile

MARK = "0123456789abcdef0123456789abcdef"
# a shell's words hold every character but NUL; half of a surrogate pair is no text
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
UGLY = (
    *(
        "'",
        '"',
        "''\\''",
        "a'b\"c`d`$(e)${f}\\",
        "\n\n\n",
        "no newline at the end",
        "\r\n",
        "\t",
        "-n",
        "%s %d\\n",
    ),
    *(
        "$0",
        "EOF\n",
        "#!/bin/sh\nexit 1\n",
        "\x01\x02\x1b[31m\x7f\x80\ufeff\u2028",
        "ünï\U0001f600",
        "*",
        "~",
        "!",
        "",
    ),
    *(f"\n{MARK} 0\n", f"{MARK}\n", "rc=9; exit 9\n", "'; touch /nowhere/at/all; '"),
)


class LocalChannel:
    """An exec channel whose far end is a local `sh`; `end` ends that without a word, as `kill -9` does."""

    opened: ClassVar[list["LocalChannel"]] = []

    def __init__(self, client: "LocalClient") -> None:
        self._client = client
        self._far: subprocess.Popen[bytes] | None = None
        self.opened.append(self)

    @property
    def far(self) -> "subprocess.Popen[bytes]":
        assert self._far
        return self._far

    @property
    def closed(self) -> bool:
        return self.far.stdin is None or self.far.stdin.closed

    def get_transport(self) -> "LocalClient":
        return self._client

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def exec_command(self, argv: str) -> None:
        self._client.said.append(argv)
        pipe = subprocess.PIPE
        self._far = subprocess.Popen(("sh", "-c", argv), stdin=pipe, stdout=pipe, stderr=pipe)

    def sendall(self, data: bytes) -> None:
        assert self.far.stdin
        self.far.stdin.write(data)
        self.far.stdin.flush()

    def shutdown_write(self) -> None:
        assert self.far.stdin
        self.far.stdin.close()

    def exit_status_ready(self) -> bool:
        return self.far.poll() is not None

    def recv_exit_status(self) -> int:
        return self.far.wait(10)

    def recv(self, size: int) -> bytes:
        assert self.far.stdout
        return os.read(self.far.stdout.fileno(), size)

    def recv_stderr(self, size: int) -> bytes:
        assert self.far.stderr
        return os.read(self.far.stderr.fileno(), size)

    def close(self) -> None:
        for stream in (self.far.stdin, self.far.stdout, self.far.stderr):
            assert stream
            # of a far end that took not all
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self.far.wait(10)

    def end(self) -> None:
        self.far.kill()
        self.far.wait(10)


class LocalClient:
    """As much of an SSH client as the shell uses; `said` are the command lines that the far end saw."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.channels: list[LocalChannel] = []

    def get_transport(self) -> "LocalClient":
        return self

    def open_session(self, timeout: float) -> LocalChannel:
        assert timeout > 0
        self.channels.append(LocalChannel(self))
        return self.channels[-1]


class CutChannel(LocalChannel):
    """The far end's shell died after its first answer."""

    def __init__(self, client: LocalClient) -> None:
        super().__init__(client)
        self._seen, self._given = b"", 0

    def recv(self, size: int) -> bytes:
        while b"two" not in self._seen:
            self._seen += super().recv(size)
        answered = self._seen[: self._seen.index(b"two")]
        part, self._given = answered[self._given :], len(answered)
        if not part:
            self.end()
        return part


class CutClient(LocalClient):
    """A connection to a node whose shell dies."""

    def open_session(self, timeout: float) -> LocalChannel:
        assert timeout > 0
        return CutChannel(self)


class DeadClient(LocalClient):
    """A connection that broke; `closed` says that it was given up."""

    closed = False

    def close(self) -> None:
        self.closed = True

    def open_session(self, timeout: float) -> LocalChannel:
        raise paramiko.SSHException(f"no session in {timeout:g} s")


def shell_on(client: LocalClient) -> Shell:
    return Shell("node", cast("paramiko.SSHClient", client), sudo=False, marked=True)


@pytest.fixture(autouse=True)
def _connections_end() -> Iterator[None]:
    """A shell stays as long as its connection, which ends here."""
    yield
    while LocalChannel.opened:
        LocalChannel.opened.pop().close()


@pytest.fixture
def client() -> LocalClient:
    return LocalClient()


@pytest.fixture
def here(client: LocalClient) -> Shell:
    return shell_on(client)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=st.lists(texts, min_size=1, max_size=5), name=texts.map(lambda text: text.replace("/", "-")[:40])
)
def test_any_text_written_comes_back(tmp_path: Path, contents: list[str], name: str) -> None:
    """Whatever a file holds and is called: the rendered script, read by a plain `sh -s`, writes these bytes."""
    files = [WriteFile(f"{tmp_path}/in a 'folder'/{i} {name}", text) for i, text in enumerate(contents)]
    script = "".join(rendered(file, MARK, stop=True) for file in files)
    done = subprocess.run(("sh", "-s"), input=script.encode(), capture_output=True, check=True)
    assert [text.encode() for text in contents] == [Path(file.path).read_bytes() for file in files]
    assert [0] * len(files) == [
        one.exit_code for one in ended(files, MARK, done.stdout.decode(), done.stderr.decode())
    ]


@settings(max_examples=30, deadline=None)
@given(stdin=texts, word=texts)
def test_any_stdin_and_argument_come_through(stdin: str, word: str) -> None:
    """A command gets its arguments and its input as they are, and its output comes back without another byte."""
    steps = [Command(("printf", "%s", word)), Command(("cat",), stdin=stdin)]
    done = shell_on(LocalClient()).run_all(steps)
    assert [word, stdin] == [one.stdout for one in done]


@pytest.mark.parametrize("text", UGLY)
def test_ugly_texts(here: Shell, tmp_path: Path, text: str) -> None:
    """Quotes, marks, control characters and scripts, as a file and as an input at once."""
    path = tmp_path / "file"
    done = here.run_all(
        [WriteFile(str(path), text), Command(("cat",), stdin=text), Command(("cat", str(path)))]
    )
    assert text.encode() == path.read_bytes()
    assert ["", text, text] == [one.stdout for one in done]


def test_files_are_private_and_replaced_in_one_move(here: Shell, tmp_path: Path) -> None:
    """Mode 0600 unless asked otherwise, folders 0700, and nothing half-written beside it."""
    here.run_all([WriteFile(f"{tmp_path}/new/a", "1"), WriteFile(f"{tmp_path}/new/b", "2", mode=0o644)])
    here.run_all([WriteFile(f"{tmp_path}/new/a", "3")])
    folder = tmp_path / "new"
    assert {one.name: one.stat().st_mode & 0o777 for one in folder.iterdir()} == {"a": 0o600, "b": 0o644}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "a").read_text() == "3"


def test_a_command_without_input_reads_nothing_of_the_script(here: Shell) -> None:
    """`cat` in the middle does not eat the steps that follow."""
    assert [one.stdout for one in here.run_all([Command(("cat",)), Command(("printf", "after"))])] == [
        "",
        "after",
    ]


def test_the_first_failure_stops_the_rest(here: Shell, tmp_path: Path) -> None:
    """The error names the command, its exit code and its last words; nothing after it ran."""
    steps: list[Step] = [
        Command(("true",)),
        Command(("sh", "-c", "echo first >&2; echo last words >&2; exit 7")),
        Command(("touch", f"{tmp_path}/never")),
    ]
    with pytest.raises(CommandError, match=r"exit 7: first \| last words") as caught:
        here.run_all(steps)
    assert caught.value.exit_code == 7
    assert list(tmp_path.iterdir()) == []


def test_an_exit_code_that_is_allowed_goes_on(here: Shell) -> None:
    """`ok` lists what counts as success."""
    done = here.run_all([Command(("sh", "-c", "exit 3"), ok=(0, 3)), Command(("printf", "on"))])
    assert [(one.exit_code, one.stdout) for one in done] == [(3, ""), (0, "on")]


def test_a_file_that_cannot_be_written_is_an_error(here: Shell) -> None:
    """A folder that is none."""
    with pytest.raises(CommandError, match="write /dev/null/file"):
        here.run_all([WriteFile("/dev/null/file", "x")])


def test_a_fact_sees_every_exit_code(here: Shell) -> None:
    """Questions may fail: a missing tool is 127, and each keeps its own stdout and stderr."""
    asked = (
        Command(("sh", "-c", "echo out; echo err >&2; exit 4")),
        Command(("no-such-program",)),
        Command(("printf", "\nno newline")),
    )
    found = here.gather(Fact(asked, lambda completed: [(one.exit_code, one.stdout) for one in completed]))
    assert found == [(4, "out\n"), (127, ""), (0, "\nno newline")]
    assert here.gather(Fact(asked, lambda completed: completed[0].stderr)) == "err\n"
    assert "no-such-program" in here.gather(Fact(asked, lambda completed: completed[1].stderr))


def test_a_fact_without_questions_needs_no_connection() -> None:
    """What the inventory knows is not asked of a node."""
    assert shell_on(DeadClient()).gather(Fact((), lambda _: 1)) == 1


def test_bytes_that_are_no_text_are_replaced(here: Shell) -> None:
    """Output in no encoding is still an answer, with U+FFFD where a byte made no sense."""
    assert here.run("printf", r"a\377b").stdout == "a\ufffdb"


def test_a_command_that_hangs_is_ended_on_the_node(here: Shell) -> None:
    """`timeout` on the node ends it, and the error says so."""
    with pytest.raises(CommandError, match="timed out"):
        here.run("sleep", "30", timeout_s=0.2)


def test_a_shell_that_ends_early_is_an_error() -> None:
    """A step without an answer is no success: neither as a change nor as a question."""
    here = shell_on(CutClient())
    steps = (Command(("printf", "one")), Command(("printf", "two")))
    with pytest.raises(CommandError, match="printf two: exit -1: the node's shell ended early"):
        here.run_all(steps)
    with pytest.raises(CommandError, match="the node's shell ended early"):
        here.gather(Fact(steps, len))


def test_a_change_under_a_lost_lease_is_refused_by_the_node(
    client: LocalClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is done unless that session's token is in the node's lease; without a lease nobody asks."""
    monkeypatch.setattr(connection, "fence", lambda token: fence(token, str(tmp_path)))
    mine, steps = replace(shell_on(client), lease="mine"), [WriteFile(f"{tmp_path}/made", "x")]
    for token in (None, "another"):
        if token:
            (tmp_path / "holder").write_text(f"{token}\nrun\n")
        with pytest.raises(
            CheckError, match="lease: node: the lease is over or another's; nothing was changed"
        ):
            mine.change(steps)
        assert not (tmp_path / "made").exists()
    (tmp_path / "holder").write_text("mine\nrun\n")
    assert len(mine.change(steps)) == len(steps)
    assert (tmp_path / "made").exists()
    with pytest.raises(CommandError, match="false"):
        mine.change([Command(("false",))])
    shell_on(client).change([WriteFile(f"{tmp_path}/more", "x")])


def test_secrets_are_on_no_command_line(client: LocalClient, tmp_path: Path) -> None:
    """What is written and fed travels on stdin only: sshd's command line never holds it."""
    secret = Secret("hunter2")
    shell_on(client).run_all([WriteFile(f"{tmp_path}/key", secret), Command(("cat",), stdin=secret)])
    assert (tmp_path / "key").read_text() == "hunter2"
    assert [line for line in client.said if "hunter2" in line] == []


def test_one_shell_takes_all_scripts_of_a_connection(
    client: LocalClient, here: Shell, tmp_path: Path
) -> None:
    """Each process is a hundredth of a second on a busy node; a failure in between changes nothing."""
    here.run("true")
    with pytest.raises(CommandError, match="exit 1"):
        here.run_all([Command(("false",)), Command(("touch", f"{tmp_path}/never"))])
    assert here.run_all([]) == []
    assert here.run("printf", "%s", "third").stdout == "third"
    assert client.said == ["sh -s"]
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_a_script_is_left_for_the_next(here: Shell) -> None:
    """A process that goes on and writes where the shell writes is heard by nobody; its words are no answer."""
    late = "(sleep 0.2; echo late; echo late >&2) & echo at once"
    assert here.run("sh", "-c", late).stdout == "at once\n"
    time.sleep(1)
    assert here.run("printf", "next") == Completed(("printf", "next"), 0, "next", "")


def test_a_shell_that_died_while_it_waited_is_no_failure(client: LocalClient, here: Shell) -> None:
    """The next script goes to another one, for nothing was sent to the first."""
    here.run("true")
    client.channels[0].end()
    assert here.run("printf", "on").stdout == "on"
    assert client.said == ["sh -s", "sh -s"]


def test_two_threads_do_not_share_a_shell(client: LocalClient, here: Shell, tmp_path: Path) -> None:
    """While one is at work another opens its own; afterwards one of the two stays."""
    os.mkfifo(tmp_path / "wait")
    waiting = threading.Thread(target=here.run, args=("cat", f"{tmp_path}/wait"))
    waiting.start()
    assert here.run("sh", "-c", f"echo go > {tmp_path}/wait; printf second").stdout == "second"
    waiting.join(20)
    here.run("true")
    assert client.said == ["sh -s", "sh -s"]
    assert [channel.closed for channel in client.channels].count(True) == 1


def test_a_password_goes_to_sudo_on_stdin() -> None:
    """The command line asks sudo to read it there; it is in no argument."""
    client = LocalClient()
    here = Shell(
        "node", cast("paramiko.SSHClient", client), sudo=True, password=Secret("open sesame"), marked=True
    )
    assert here._prologue() == "open sesame\n"
    with pytest.raises((CommandError, NodeUnreachableError)):
        Shell(
            "node", cast("paramiko.SSHClient", DeadClient()), sudo=True, password=Secret("x"), marked=True
        ).run("true")
    here._channel(("true",), 5)
    assert client.said == ["sudo -k -S -p '' -- true"]


def test_a_password_that_sudo_does_not_want_is_no_script(client: LocalClient, tmp_path: Path) -> None:
    """A shell before the shell reads up to a mark, once a connection; the scripts follow."""
    here = Shell(
        "node", cast("paramiko.SSHClient", client), sudo=False, password=Secret("touch x"), marked=True
    )
    for text in ("one", "two"):
        assert here.run("printf", text).stdout == text
    assert len(client.said) == 1
    assert "touch" not in client.said[0]


@pytest.mark.parametrize("first", [False, True])
def test_a_refusal_of_sudo_is_what_sudo_says(
    client: LocalClient,
    monkeypatch: pytest.MonkeyPatch,
    first: bool,  # noqa: FBT001
) -> None:
    """No shell came up, so its words are the reason; also where it ended before it was sent anything."""
    here = shell_on(client)
    send = LocalChannel.sendall

    def late(channel: LocalChannel, content: bytes) -> None:
        channel.far.wait(10)
        send(channel, content)

    if first:
        monkeypatch.setattr(LocalChannel, "sendall", late)
    refuse = ("sh", "-c", "echo sudo: a password is required >&2; exit 1")
    real = Shell._channel
    monkeypatch.setattr(Shell, "_channel", lambda shell, _argv, limit: real(shell, refuse, limit))
    with pytest.raises(CommandError, match="node: sudo: exit 1: sudo: a password is required"):
        here.run("true")


def test_a_broken_connection_is_a_node_that_does_not_answer() -> None:
    """paramiko's errors become ours, with the host's name; the next task logs in anew."""
    client = DeadClient()
    with pytest.raises(NodeUnreachableError, match="node: no SSH: SSHException no session in 10 s"):
        shell_on(client).run("true")
    assert client.closed


class SlowClient(DeadClient):
    """A connection that stands, to a node that opens no session in time."""

    def is_active(self) -> bool:
        return True


@pytest.mark.parametrize(("conn_timeout_s", "waited_s"), [(5.0, 10), (60.0, 60)])
def test_a_slow_node_is_given_what_its_login_options_say(
    conn_timeout_s: float, waited_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session may take as long as a connection, and never less than every node has."""
    monkeypatch.setattr("tasks.connection.hold_line", lambda _task, _host: None)
    host = Host("node", username="root", data={"testbed": True})
    line = line_of(host)
    line.client, line.within_s = cast("paramiko.SSHClient", SlowClient()), conn_timeout_s
    with pytest.raises(NodeUnreachableError, match=f"no session in {waited_s} s"):
        shell_of(cast("Task", None), host).run("true")


def test_splitting_what_was_cut_off() -> None:
    """Only steps whose end was seen count, each with its own text."""
    steps: list[Step] = [Command(("a",)), WriteFile("/b", ""), Command(("c",))]
    whole = f"x\ny\n\n{MARK} 0\n\n{MARK} 5\nhalf of c"
    errors = f"e\n\n{MARK}\n\n{MARK}\n"
    wanted = [Completed(("a",), 0, "x\ny\n", "e\n"), Completed(("write", "/b"), 5, "", "")]
    assert wanted == ended(steps, MARK, whole, errors)
    assert ended(steps, MARK, "", "") == []
    assert ended((), MARK, "", "") == []


def test_splitting_what_was_cut_anywhere() -> None:
    """Either stream may end at any byte: what is answered is answered as in the whole, and nothing raises."""
    steps: list[Step] = [Command(("a",)), WriteFile("/b", ""), Command(("c",))]
    stdout = f"x\n\n{MARK} 0\n\n{MARK} 127\nc\n{MARK} 3\n"
    stderr = f"e\n{MARK}\n\n{MARK}\nf\n{MARK}\n"
    whole = [(one.argv, one.exit_code, one.stdout) for one in ended(steps, MARK, stdout, stderr)]
    assert [code for _, code, _ in whole] == [0, 127, 3]
    for cut in range(len(stdout) + 1):
        for cut_too in range(len(stderr) + 1):
            found = ended(steps, MARK, stdout[:cut], stderr[:cut_too])
            assert [(one.argv, one.exit_code, one.stdout) for one in found] == whole[: len(found)]
            assert all(stderr[:cut_too].startswith(one.stderr) for one in found[:1])


def test_every_step_says_its_end_once() -> None:
    """The mark with the exit code on stdout, the mark alone on stderr; a stop only where asked for."""
    for step in (Command(("true",)), Command(("true",), stdin="x", ok=(0, 2)), WriteFile("/a", "b")):
        script = rendered(step, MARK, stop=False)
        assert (script.count(f"{MARK} %d"), script.count(MARK)) == (1, 2)
        assert "exit 1" not in script
        assert "exit 1" in rendered(step, MARK, stop=True)
