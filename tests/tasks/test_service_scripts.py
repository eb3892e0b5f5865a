"""The scripts that start and stop daemons, run here: how a daemon is told to end, and when it counts as ready."""

import subprocess
from pathlib import Path

import pytest

from vpnmesh.host import service

# a daemon that leaves a word when it is asked to end
DAEMON = """
echo $$ > "$0.pid"; trap 'echo asked > "$0.word"; exit' TERM
touch "$0.up"; while :; do sleep 0.05; done
"""


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(("sh", "-c", script, *words), capture_output=True, text=True, check=False)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """What a service's files begin with; its daemon runs."""
    base = tmp_path / "daemon"
    subprocess.run(("setsid", "-f", "sh", "-c", DAEMON, str(base)), check=True)
    run('until [ -e "$0.up" ]; do sleep 0.05; done', str(base))
    return base


@pytest.mark.parametrize(("goodbye", "asked"), [((), True), (("false",), True), (("true",), False)])
def test_a_daemon_that_has_said_goodbye_is_not_asked(
    goodbye: tuple[str, ...],
    asked: bool,  # noqa: FBT001
    base: Path,
) -> None:
    """Without a goodbye, or where it failed, the daemon gets TERM and may tidy up; after one it ends at once."""
    pid = base.with_suffix(".pid").read_text().strip()
    assert run(service._STOP, "sh", str(base), *goodbye).returncode == 0
    assert base.with_suffix(".word").exists() is asked
    assert not Path(f"/proc/{pid}").exists()
    assert not base.with_suffix(".pid").exists()


def test_stopping_what_does_not_run_says_no_goodbye(tmp_path: Path) -> None:
    """Nothing runs, so nobody is there to take anything back."""
    said = tmp_path / "said"
    assert run(service._STOP, "sh", str(tmp_path / "daemon"), "touch", str(said)).returncode == 0
    assert not said.exists()


def test_only_a_daemon_that_lives_is_ready(base: Path) -> None:
    """The answer of another process is not its own: what it was asked succeeds, and it does not run."""
    assert run(service._UNTIL, str(base), "test", "-e", f"{base}.up").returncode == 0
    run(service._STOP, "sh", str(base))
    assert run(service._UNTIL, str(base), "test", "-e", f"{base}.up").returncode == 1


def test_a_socket_that_listens_is_ready_and_its_file_alone_is_not(tmp_path: Path) -> None:
    """A daemon that was killed leaves the file of its socket behind."""
    path = str(tmp_path / "socket")
    script = (
        "import socket, subprocess, sys; here = socket.socket(socket.AF_UNIX); here.bind(sys.argv[1]);"
        "here.listen(); sys.exit(subprocess.run(sys.argv[2:]).returncode)"
    )
    argv = service.listens_at(path).argv
    assert subprocess.run(("python3", "-c", script, path, *argv), check=False).returncode == 0
    assert Path(path).exists()
    assert subprocess.run(argv, check=False).returncode == 1
