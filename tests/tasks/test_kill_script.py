"""The script that kills daemons as a crash would, run here: by pid file, and by name where names are given."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.convergence import _KILL


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Two daemons with pid files, one of a VPN and one of a cluster, and the pid file of one that is gone."""
    running = {}
    for name in ("vpnd", "kubelet"):
        program = tmp_path / name
        program.symlink_to("/bin/sleep")
        running[name] = subprocess.Popen((str(program), "60"))
        (tmp_path / f"cluster-{name}.pid").write_text(f"{running[name].pid}\n")
    (tmp_path / "gone.pid").write_text("999999999\n")
    (tmp_path / "empty.pid").write_text("")
    yield tmp_path
    for process in running.values():
        process.kill()
        process.wait()


def killed(folder: Path, *names: str) -> list[str]:
    argv = ("sh", "-c", _KILL, "sh", str(folder), *names)
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return sorted(Path(line).stem for line in done.stdout.split())


def test_all_of_ours_are_killed(folder: Path) -> None:
    """What is gone already is none of them."""
    assert killed(folder) == ["cluster-kubelet", "cluster-vpnd"]


def test_names_narrow_it_down(folder: Path) -> None:
    """A cluster's daemons beside the VPN's go on; a name that is a part of another's is another."""
    assert killed(folder, "vpn", "d") == []
    assert killed(folder, "derper", "vpnd") == ["cluster-vpnd"]
    assert Path(f"/proc/{(folder / 'cluster-kubelet.pid').read_text().strip()}").exists()
