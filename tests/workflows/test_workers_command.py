"""`python -m workflows.workers`: what it makes, and what it refuses, in one sentence with exit code 2."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workflows.workers import main


def called(*argv: str) -> Result:
    """Run it here."""
    return CliRunner().invoke(main, argv)


def test_init_says_how_to_go_on(tmp_path: Path) -> None:
    """All three commands, with the folders that it made."""
    done = called("init", str(tmp_path / "made"))
    assert done.exit_code == 0, done.output
    for words in (
        f"scheduler --credentials {tmp_path}/made/scheduler --listen",
        "worker tls://ADDRESS:8786 --credentials worker --reaches SITE",
        f"export VPNMESH_DASK=tls://ADDRESS:8786 VPNMESH_DASK_CREDENTIALS={tmp_path}/made/client",
    ):
        assert words in done.output
    assert called("init", str(tmp_path / "made")).exit_code == 2


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("scheduler",), "--credentials: missing"),
        (("scheduler", "--credentials", "{made}", "--listen", "0.0.0.0"), "no address of a scheduler"),
        (("scheduler", "--plain-on-loopback", "--listen", "192.0.2.1:1"), "is not encrypted"),
        (("worker", "tcp://192.0.2.1:1", "--credentials", "{made}"), "is not encrypted"),
        (
            ("worker", "tls://192.0.2.1:1", "--credentials", "{made}", "--reaches", "a b"),
            "--reaches: 'a b' is no name",
        ),
        (("worker", "tls://192.0.2.1:1", "--credentials", "{made}", "--reaches", ","), "names no site"),
        (("worker", "tls://192.0.2.1:1", "--credentials", "/nowhere"), "ca.pem: missing"),
        (
            ("worker", "tls://192.0.2.1:1", "--credentials", "{made}", "--logins", "/nowhere"),
            "/nowhere: missing",
        ),
        (("status", "https://192.0.2.1:1", "--credentials", "{made}"), "no address of a scheduler"),
        (("status", "tls://192.0.2.1:1"), "VPNMESH_DASK_CREDENTIALS: is not set"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, argv: tuple[str, ...], said: str) -> None:
    """No traceback, and nothing is listened on."""
    called("init", str(tmp_path / "made"))
    done = called(*(word.format(made=tmp_path / "made") for word in argv))
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert done.output.startswith("error: ")
    assert done.output.count("\n") == 1


def test_a_scheduler_whose_port_is_taken(tmp_path: Path) -> None:
    """Dask says only that it failed to start; the sentence says why.

    A process of its own: Dask leaves the socket to the garbage collector.
    """
    called("init", str(tmp_path / "made"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        own = ("--credentials", f"{tmp_path}/made/scheduler", "--listen", at)
        done = subprocess.run(
            [sys.executable, "-m", "workflows.workers", "scheduler", *own],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, f"error: cannot listen at {at}: Address already in use\n")


@pytest.mark.parametrize("folder", ["/dev/null", "/dev/null/below", "/proc/below"])
def test_credentials_where_no_folder_can_be_made(folder: str) -> None:
    """The folder and the system's reason, with exit code 2."""
    done = called("init", folder)
    assert done.exit_code == 2, done.output
    assert done.output.startswith(f"error: {folder}: cannot be written: ")
