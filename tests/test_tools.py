"""The set-up's scripts: they say what they do from the first second, and a failure is not lost."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


def run(*argv: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of tools/, with programs of ours first on PATH."""
    own = {"PATH": f"{path}:{os.environ['PATH']}", "POLICY_RC_D": f"{path}/policy-rc.d"} if path else {}
    environment = {**os.environ, **own, **({"SYSTEMD_UNITS": f"{path}/units"} if path else {})}
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def program(folder: Path, name: str, script: str) -> None:
    """A program that stands in for the real one."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_step_says_what_and_how_long() -> None:
    """A line before, the command's own output, a line after."""
    done = run("tools/step", "words for a person", "echo", "output")
    lines = done.stdout.splitlines()
    assert lines[:2] == ["==> words for a person", "output"]
    assert lines[2].startswith("    done in ")


def test_a_failed_step_fails() -> None:
    """Its exit code is the command's, and the words say which step."""
    done = run("tools/step", "words", "sh", "-c", "exit 7")
    assert done.returncode == 7
    assert "words: FAILED with exit code 7" in done.stderr


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    """Stand-ins for dpkg-query (nothing is installed), id (root) and apt-get."""
    program(tmp_path, "dpkg-query", "exit 1")
    program(tmp_path, "id", "echo 0")
    return tmp_path


def test_packages_are_named_as_they_are_set_up(apt: Path) -> None:
    """Missing ones first, then a line for each that is done; nothing else of apt's."""
    program(
        apt, "apt-get", 'if [ "$1" = install ]; then echo "Unpacking a"; echo "Setting up a (1.0) ..."; fi'
    )
    done = run("tools/debian-packages", "a", "b", path=apt)
    assert done.returncode == 0, done.stderr
    assert not (apt / "policy-rc.d").exists()
    assert done.stdout.splitlines() == ["    missing: a b", "    reading Debian's package lists", "    a"]


def test_a_service_that_comes_with_a_package_does_not_start_at_boot(apt: Path) -> None:
    """Debian enables it; that is undone for what is new, and for nothing that was enabled before."""
    wants = apt / "units/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "ssh.service").symlink_to("/nowhere")
    program(apt, "apt-get", f'[ "$1" = update ] || ln -s /nowhere {wants}/redis-server.service')
    program(apt, "update-rc.d", f'echo "$@" > {apt}/asked')
    done = run("tools/debian-packages", "redis-server", path=apt)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "    redis-server.service does not start at boot"
    assert [path.name for path in wants.iterdir()] == ["ssh.service"]
    assert (apt / "asked").read_text() == "redis-server disable\n"


def test_packages_that_cannot_be_installed_are_an_error(apt: Path) -> None:
    """apt's own exit code and its own words come through."""
    program(apt, "apt-get", '[ "$1" = update ] || { echo "E: Unable to locate package a"; exit 100; }')
    done = run("tools/debian-packages", "a", path=apt)
    assert done.returncode == 100
    assert "E: Unable to locate package a" in done.stdout


def test_test_fast_leaves_out_what_is_marked() -> None:
    """The Makefile's choice names markers that exist."""
    fast = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("FAST := "))
    markers = fast.removeprefix("FAST := ").replace("not ", "").split(" and ")
    known = (ROOT / "pyproject.toml").read_text()
    assert markers == ["live", "netbox", "slow"]
    assert all(f'"{name}: ' in known for name in markers)
