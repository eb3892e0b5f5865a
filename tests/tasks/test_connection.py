"""The shell that tasks use, against a local `sh`: texts come through unharmed, and what fails is said."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import cast

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
    """An exec channel whose far end is a local `sh`."""

    def __init__(self, said: list[str]) -> None:
        self._said = said
        self._fed = b""
        self._out: list[bytes] | None = None
        self._argv = ""
        self._code = -1

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def exec_command(self, argv: str) -> None:
        self._argv = argv
        self._said.append(argv)

    def sendall(self, data: bytes) -> None:
        self._fed += data

    def shutdown_write(self) -> None:
        done = subprocess.run(("sh", "-c", self._argv), input=self._fed, capture_output=True, check=False)
        self._out = [done.stdout, done.stderr]
        self._code = done.returncode

    def recv_exit_status(self) -> int:
        return self._code

    def recv(self, size: int) -> bytes:
        return self._take(0, size)

    def recv_stderr(self, size: int) -> bytes:
        return self._take(1, size)

    def close(self) -> None:
        self._fed = b""

    def _take(self, index: int, size: int) -> bytes:
        assert self._out is not None
        part, self._out[index] = self._out[index][:size], self._out[index][size:]
        return part


class LocalClient:
    """As much of an SSH client as the shell uses; `said` are the command lines that the far end saw."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def get_transport(self) -> "LocalClient":
        return self

    def open_session(self, timeout: float) -> LocalChannel:
        assert timeout > 0
        return LocalChannel(self.said)


class CutChannel(LocalChannel):
    """The far end's shell died after its first answer."""

    def shutdown_write(self) -> None:
        super().shutdown_write()
        assert self._out is not None
        self._out[0] = self._out[0][: self._out[0].index(b"two")]


class CutClient(LocalClient):
    """A connection to a node whose shell dies."""

    def open_session(self, timeout: float) -> LocalChannel:
        assert timeout > 0
        return CutChannel(self.said)


class DeadClient(LocalClient):
    """A connection that broke; `closed` says that it was given up."""

    closed = False

    def close(self) -> None:
        self.closed = True

    def open_session(self, timeout: float) -> LocalChannel:
        raise paramiko.SSHException(f"no session in {timeout:g} s")


def shell_on(client: LocalClient) -> Shell:
    return Shell("node", cast("paramiko.SSHClient", client), sudo=False, marked=True)


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


def test_without_a_password_a_round_trip_is_one_shell(client: LocalClient, here: Shell) -> None:
    """Each process is a hundredth of a second on a busy node; only a password must be kept out of the script."""
    here.run("true")
    assert client.said == ["sh -s"]


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
