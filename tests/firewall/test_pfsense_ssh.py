"""The SSH driver: its script run by a real PHP over stand-ins for pfSense's functions (not over pfSense's own)."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from tasks.connection import Shell
from tasks.firewall.journal import Journal
from tasks.firewall.pfsense_ssh import PfsenseSsh
from tasks.firewall.policy import change, take_back
from tests.firewall.appliance import six_nodes
from tests.needs import needs
from vpnmesh.errors import CheckError, CommandError, ToolError, UnavailableError
from vpnmesh.firewall import pfsense_php
from vpnmesh.firewall.pfsense_objects import Mark
from vpnmesh.firewall.policy import policy_named, resolve
from vpnmesh.firewall.session import ChangeOrigin
from vpnmesh.plan import Command, Completed, Text, reveal

pytestmark = pytest.mark.usefixtures("php")


@pytest.fixture(scope="module")
def php() -> None:
    """The real interpreter, which the set-up installs."""
    needs(shutil.which("php") is not None, "no php (Debian package php-cli)")


STUBS = Path(__file__).parent / "php"
ORIGIN = ChangeOrigin("run-1", "pf", "pfsense-ssh", "192.0.2.1")
THEIRS = {"type": "pass", "interface": "opt1", "descr": "theirs", "tracker": "7", "source": {"any": ""}}


class LocalPhp:
    """A Shell that runs the script here."""

    host = "pf"

    def __init__(self, config: Path, stubs: Path = STUBS) -> None:
        self.config = config
        self.stubs = stubs

    def run_all(self, steps: Sequence[Command]) -> list[Completed]:
        """As the SSH shell does it, without SSH."""
        return [self._run(step) for step in steps]

    def run(self, *argv: str, stdin: Text, timeout_s: float) -> Completed:
        """One command."""
        return self._run(Command(argv, stdin=stdin, timeout_s=timeout_s))

    look = run

    def _run(self, step: Command) -> Completed:
        argv = (step.argv[0], "-d", f"include_path={self.stubs}", *step.argv[1:])
        environment = {**os.environ, "STUB_CONFIG": str(self.config)}
        done = subprocess.run(
            argv, input=reveal(step.stdin), capture_output=True, text=True, check=False, env=environment
        )
        if done.returncode:
            raise CommandError(self.host, step.argv, done.returncode, done.stderr or done.stdout)
        return Completed(step.argv, done.returncode, done.stdout, done.stderr)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with one foreign rule."""
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps({"filter": {"rule": [THEIRS]}, "revision": {"time": "41", "description": "admin"}})
    )
    return path


def driver(config: Path, run: str = "run-1") -> PfsenseSsh:
    """The driver over the local PHP."""
    return PfsenseSsh(cast("Shell", LocalPhp(config)), six_nodes(), Mark(run), lambda _text: None)


def set_policy(config: Path, name: str, run: str = "run-1") -> str:
    """The safe way."""
    wanted = resolve(policy_named(name), six_nodes())
    return change(driver(config, run), wanted, ORIGIN, Journal(config.parent / "journal"), dry_run=False)


def rules(config: Path) -> list[dict[str, object]]:
    """The rules on disk."""
    found: list[dict[str, object]] = json.loads(config.read_text())["filter"]["rule"]
    return found


@pytest.mark.parametrize("name", ["block-udp", "block-udp-k8s", "tcp-443-only"])
def test_policy_is_written_once_and_taken_back(config: Path, name: str) -> None:
    """One write per change, rules loaded once, foreign rule first and untouched, trackers all different."""
    assert set_policy(config, name)
    content = json.loads(config.read_text())
    assert content["revision"]["time"] == "42"
    assert rules(config)[0] == THEIRS
    trackers = [rule["tracker"] for rule in rules(config)]
    assert len(trackers) == len(set(trackers)) > 1
    ran = config.with_name("config.json.ran").read_text().splitlines()
    assert ran[0] == "filter_configure_sync"
    assert ran.count("filter_configure_sync") == 1
    assert any(line.startswith("/sbin/pfctl -k '192.88.99.10' -k ") for line in ran)
    assert not set_policy(config, name)
    assert set_policy(config, "allow-all")
    assert rules(config) == [THEIRS]
    assert "vpnmesh" not in json.dumps({**json.loads(config.read_text()), "revision": {}})


def test_crash_is_taken_back_by_the_run_id(config: Path) -> None:
    """PfsenseObjects that a dead run left are removed by another process that knows only the run."""
    set_policy(config, "block-udp")
    assert take_back(driver(config), ORIGIN, Journal(config.parent / "journal"))
    assert rules(config) == [THEIRS]


def test_php_that_dies_before_the_rules_are_loaded_is_taken_back(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between write and load, in a change and again in its way back: the next way back loads the rules."""
    journal = Journal(config.parent / "journal")
    monkeypatch.setenv("STUB_DIES", "yes")
    with pytest.raises(CheckError, match="the roll back failed"):
        set_policy(config, "block-udp")
    assert rules(config) == [THEIRS]
    assert not config.with_name("config.json.ran").exists()
    monkeypatch.delenv("STUB_DIES")
    assert take_back(driver(config), ORIGIN, journal) is False
    assert config.with_name("config.json.ran").read_text() == "filter_configure_sync\n"
    assert journal.read(ORIGIN) is None


def test_old_states_to_anywhere_are_ended_where_a_block_names_no_destination(config: Path) -> None:
    """Under tcp-443-only a worker's old flow to the relay, or to the world, ends too."""
    set_policy(config, "tcp-443-only")
    ran = config.with_name("config.json.ran").read_text()
    assert "/sbin/pfctl -k '192.88.99.10' -k '0.0.0.0/0'" in ran


def test_another_run_and_pending_changes_are_refused(config: Path) -> None:
    """As by REST: one run at a time, and nobody's pending changes are loaded with ours."""
    set_policy(config, "block-udp", run="run-2")
    with pytest.raises(CheckError, match="run run-2 holds this firewall"):
        set_policy(config, "block-udp")
    set_policy(config, "allow-all", run="run-2")
    config.with_name("config.json.filter.dirty").touch()
    with pytest.raises(CheckError, match="Apply Changes"):
        set_policy(config, "block-udp")


def test_rules_are_renewed_when_half_of_their_time_has_gone(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same policy again is no change at first; with a lifetime that has half gone, the schedule is written anew."""
    set_policy(config, "block-udp")
    assert not set_policy(config, "block-udp")
    monkeypatch.setattr("tasks.firewall.pfsense_ssh.LIFETIME", timedelta(hours=9))
    before = json.loads(config.read_text())["schedules"]
    assert set_policy(config, "block-udp") == "firewall policy block-udp: renewed"
    assert before != json.loads(config.read_text())["schedules"]


def test_revision_of_pfsense_is_in_the_journal(config: Path) -> None:
    """The revision before the first write is kept, so that a person can restore it from pfSense's own history."""
    set_policy(config, "block-udp")
    begun = Journal(config.parent / "journal").read(ORIGIN)
    assert begun is not None
    assert begun.revision == "41 admin"


def test_nat_over_ssh_says_what_to_use_instead(config: Path) -> None:
    """How versions store outbound NAT differs: refused before anything is written."""
    before = config.read_text()
    with pytest.raises(UnavailableError, match="use the driver pfsense-rest or manual"):
        set_policy(config, "nat-symmetric")
    assert config.read_text() == before


def test_a_php_that_is_not_pfsenses_is_named(config: Path, tmp_path: Path) -> None:
    """Another FreeBSD, or a plain web server: one clear sentence, no PHP error page."""
    here = cast("Shell", LocalPhp(config, stubs=tmp_path))
    stranger = PfsenseSsh(here, six_nodes(), Mark("run-1"), lambda _text: None)
    with pytest.raises(CheckError, match=r"pf: a php without pfSense's functions: .* needs a root shell"):
        stranger.observe()


def test_a_host_without_php_is_named() -> None:
    """A shell that knows no php is no pfSense's."""

    class NoPhp:
        def look(self, *argv: str, **_options: object) -> Completed:
            raise CommandError("pf", argv, 127, "php: not found")

    stranger = PfsenseSsh(cast("Shell", NoPhp()), six_nodes(), Mark("run-1"), lambda _text: None)
    with pytest.raises(CheckError, match="pf: no php: the driver pfsense-ssh needs"):
        stranger.observe()


def test_a_php_that_prints_no_answer_is_an_error() -> None:
    """A PHP error page or an empty answer is no configuration."""
    with pytest.raises(ToolError, match="no answer from pfSense: PHP Fatal error: foo"):
        pfsense_php.parse("PHP Fatal error: foo\n")
