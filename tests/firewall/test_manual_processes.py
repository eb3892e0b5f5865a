"""The manual driver across real processes: what a person confirmed in one is known in the next."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from shutil import copytree

import pytest
import yaml

from tests.conftest import ROOT
from tests.firewall.appliance import without_nodes

AWAY = "delete every rule whose description begins 'vpnmesh:t:'"
ASKED = "Press Enter when done"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The lab's inventory with a person for a firewall driver; no node answers, so only the proof by packets fails."""
    copied = copytree(ROOT / "inventory" / "lab", tmp_path / "inventory")
    hosts = yaml.safe_load((copied / "hosts.yaml").read_text())
    hosts["firewall"]["data"]["firewall_driver"] = "manual"
    (copied / "hosts.yaml").write_text(yaml.safe_dump(hosts))
    without_nodes(copied)
    return copied


def command(folder: Path, *words: str) -> tuple[str, ...]:
    """A workflow in a process of its own."""
    return (
        sys.executable,
        "-m",
        f"workflows.{words[0]}",
        *words[1:],
        "--run",
        "t",
        "--inventory",
        str(folder),
    )


def environment(folder: Path) -> Mapping[str, str]:
    """Where both processes keep their journal."""
    return {**os.environ, "VPNMESH_STATE_DIR": str(folder.parent / "state"), "PYTHONUNBUFFERED": "1"}


def said(folder: Path, *words: str, answers: str = "\n") -> str:
    """All that a workflow says to a person who answers so."""
    done = subprocess.run(
        command(folder, *words),
        input=answers,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment(folder),
    )
    return done.stdout


def journals(folder: Path) -> list[str]:
    """The changes that are on record as standing."""
    return sorted(path.name for path in (folder.parent / "state" / "firewall").glob("t@*.json"))


def test_what_was_confirmed_in_one_process_is_known_in_the_next(folder: Path) -> None:
    """The same again: nothing to click. Another policy, or none: the first is taken away; then nothing is on record."""
    assert ASKED in said(folder, "firewall", "set", "block-udp")
    assert ASKED not in said(folder, "firewall", "set", "block-udp")
    changed = said(folder, "firewall", "set", "block-udp-k8s")
    assert AWAY in changed
    assert "set the firewall to policy 'block-udp-k8s'" in changed
    back = said(folder, "firewall", "set", "allow-all")
    assert AWAY in back
    assert ASKED in back
    assert journals(folder) == []


def test_rules_that_nobody_confirmed_to_be_gone_stay_on_record(folder: Path) -> None:
    """Nobody answers when asked to take them away: the journal stays, and the next process asks again."""
    said(folder, "firewall", "set", "block-udp")
    assert "nobody confirmed" in said(folder, "firewall", "set", "allow-all", answers="")
    assert len(journals(folder)) == 1
    assert AWAY in said(folder, "teardown")
    assert journals(folder) == []


def test_a_process_killed_while_the_person_clicks(folder: Path) -> None:
    """Nobody knows how far the person came, so the next process has all of it taken away before it goes on."""
    process = subprocess.Popen(
        command(folder, "firewall", "set", "block-udp"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(folder),
    )
    with process:
        assert process.stdout
        assert any(ASKED in line for line in process.stdout)
        process.kill()
    assert len(journals(folder)) == 1
    again = said(folder, "firewall", "set", "block-udp")
    assert AWAY in again
    assert "set the firewall to policy 'block-udp'" in again
    assert ASKED not in said(folder, "firewall", "set", "block-udp")
