"""The engine's program: compiled when its source changed, with a command line that refuses nonsense."""

import subprocess
from pathlib import Path

import pytest

from vpnmesh.lab.nfqueue.build import SOURCE, build


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("engine") / "deep" / "vpnmesh-nfq")


def test_built_once(binary: Path) -> None:
    """A second build of the same source leaves the file alone; a lost stamp builds again."""
    first = binary.stat()
    assert build(binary).stat().st_ino == first.st_ino
    binary.with_name("vpnmesh-nfq.sha256").unlink()
    assert build(binary).stat().st_ino != first.st_ino
    assert sorted(path.name for path in binary.parent.iterdir()) == ["vpnmesh-nfq", "vpnmesh-nfq.sha256"]


def test_compiles_without_a_warning(tmp_path: Path) -> None:
    """The compiler has nothing to say, at its strictest."""
    argv = [
        "gcc",
        "-std=gnu11",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Wshadow",
        "-Werror",
        "-o",
        str(tmp_path / "x"),
        str(SOURCE),
    ]
    assert subprocess.run(argv, capture_output=True, text=True, check=False).stderr == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "usage: vpnmesh-nfq"),
        ("--queue 1 stray", "usage: vpnmesh-nfq"),
        ("--queue 70000", "--queue: '70000' is not a number in [0, 65535]"),
        ("--queue 1 --loss-pct 100", "--loss-pct: '100' is not a number in [0, 99.999]"),
        ("--queue 1 --delay-ms -1", "--delay-ms: '-1' is not a number in [0, 60000]"),
        ("--queue 1 --delay-ms nan", "--delay-ms: 'nan' is not a number"),
        ("--queue 1 --limit 0", "--limit: '0' is not a number in [1, 1e+07]"),
    ],
)
def test_refuses(binary: Path, arguments: str, complaint: str) -> None:
    """A wrong argument ends with 2 and a sentence that names it."""
    done = subprocess.run([binary, *arguments.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
