"""The NAT grid's command without a testbed: what it plans, what it refuses, and with what it goes on."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from inventory.load import BUILT_IN
from vpnmesh.errors import InputError
from vpnmesh.firewall.nat_kinds import NatKind
from vpnmesh.plan import Secret
from vpnmesh.reference.nat_promises import products
from vpnmesh.study.nat_grid import Found, NatRecord, line_of
from workflows import nat_grid
from workflows.nat_grid import main
from workflows.run.nat_grid_files import GridFiles

NAME = next(iter(products()))


def record(found: Found) -> NatRecord:
    """A cell of none and symmetric that ended so."""
    return NatRecord(NAME, products()[NAME].scenario, NatKind.NONE, NatKind.SYMMETRIC, found, "now")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kinds", "cone"), "--kinds: unknown kind of NAT 'cone'"),
        (("--pairs", "none"), "--pairs: 'none' is not KIND>KIND"),
        (("--pairs", "none>none", "--kinds", "none"), "--pairs: stands beside --kinds"),
        (("--solutions", "nobody"), "--solutions: unknown solution of the NAT grid 'nobody'"),
        (("--kinds", ","), "--kinds: names none"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Exit code 2, before anything is touched."""
    done = CliRunner().invoke(main, [*words, "--plan", "--out", str(tmp_path / "grid")])
    assert (done.exit_code, done.stderr.startswith(f"error: {said}")) == (2, True), done.output
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize(
    ("former", "changed", "code", "said"),
    [
        ("legs:", "firewall_driver: manual\n    legs:", 1, "firewall: manual cannot make kinds of NAT"),
        (
            "18/29,",
            "18/29, management_interface: eth0,",
            2,
            "worker2's underlay interface eth0 also carries its",
        ),
    ],
)
def test_where_no_node_can_be_put_behind_nat_nothing_is_touched(
    former: str, changed: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said in one sentence, before a lab is brought up and before anything is written."""
    monkeypatch.setattr(nat_grid, "lab_for", lambda *_: pytest.fail("a lab was brought up"))
    place = tmp_path / "inventory"
    shutil.copytree(BUILT_IN / "lab", place)
    hosts = (place / "hosts.yaml").read_text(encoding="utf-8")
    (place / "hosts.yaml").write_text(hosts.replace(former, changed, 1), encoding="utf-8")
    words = ["--inventory", str(place), "--solutions", NAME, "--pairs", "none>symmetric"]
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "grid")])
    assert (done.exit_code, said in done.stderr) == (code, True), done.output
    assert not (tmp_path / "grid").exists()


def test_somebody_elses_vpn_stops_the_grid_before_anybody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every command that sets VPNs up; with --beside-foreign it would go on."""

    def refuse(_site: object) -> None:
        raise InputError("worker1: a VPN", "not of vpnmesh's making, and nothing was changed")

    monkeypatch.setattr(nat_grid, "lab_for", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(nat_grid, "refuse_foreign", refuse)
    monkeypatch.setattr(nat_grid, "may_change", lambda *_: pytest.fail("somebody was asked"))
    words = ["--solutions", NAME, "--pairs", "none>none", "--out", str(tmp_path), "--beside-foreign"]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, "not of vpnmesh's making" in done.stderr) == (2, True), done.output


def test_a_missing_program_is_a_cell_that_could_not_be_measured() -> None:
    """The exit code tells of it; what IPv6 is wanted for may be beyond a product, and is no failure."""
    assert nat_grid._failed(record(Found.UNAVAILABLE))
    assert nat_grid._failed(None)
    assert not nat_grid._failed(replace(record(Found.UNAVAILABLE), server=NatKind.IPV6_ONLY))
    assert not nat_grid._failed(record(Found.NOTHING))


def test_the_plan_counts_what_is_missing(tmp_path: Path) -> None:
    """A cell that was measured is done; one that could not be proven is tried again."""
    files, words = GridFiles(tmp_path), ["--plan", "--solutions", NAME, "--kinds", "none,symmetric"]
    files.prepare()
    for found, planned in (
        (Found.UNPROVEN, "3 cells (0 done before)"),
        (Found.DIRECT, "2 cells (1 done before)"),
    ):
        files.add(record(found))
        done = CliRunner().invoke(main, [*words, "--out", str(tmp_path)])
        assert planned in done.stdout
        assert "none>none, none>symmetric, symmetric>symmetric" in done.stdout
        assert "min" in done.stdout


def test_what_was_missing_may_be_there_now(tmp_path: Path) -> None:
    """A cell that was unavailable is tried again."""
    files, words = GridFiles(tmp_path), ["--plan", "--solutions", NAME, "--kinds", "none,symmetric,ipv6-only"]
    files.prepare()
    files.add(record(Found.UNAVAILABLE))
    files.add(replace(record(Found.UNAVAILABLE), server=NatKind.IPV6_ONLY))
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path)])
    assert "6 cells (0 done before)" in done.stdout


def test_a_line_that_a_kill_left_half_is_written_over(tmp_path: Path) -> None:
    """The cell is measured again, and no line is lost."""
    files = GridFiles(tmp_path)
    files.prepare()
    files.add(record(Found.DIRECT))
    with (tmp_path / "cells.jsonl").open("a", encoding="utf-8") as file:
        file.write(line_of(record(Found.RELAY))[:30])
    files.add(record(Found.RELAY))
    assert [one.found for one in files.read().values()] == [Found.RELAY]
    assert len((tmp_path / "cells.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_a_character_that_a_kill_cut_in_two_is_written_over(tmp_path: Path) -> None:
    """And a whole line without its end was not written either: the next one follows the last that was."""
    files = GridFiles(tmp_path)
    files.prepare()
    files.add(record(Found.DIRECT))
    for half in ('{"solution":"\u00e9'.encode()[:-1], line_of(record(Found.RELAY)).encode()):
        with (tmp_path / "cells.jsonl").open("ab") as file:
            file.write(half)
        assert [one.found for one in files.read().values()] == [Found.DIRECT]
        files.add(record(Found.DIRECT))
    assert len((tmp_path / "cells.jsonl").read_bytes().splitlines()) == 3


def test_what_is_kept_is_for_its_owner_and_without_secrets(tmp_path: Path) -> None:
    """Reasons are words of programs, and packets are other people's; a separator of lines in them ends no line."""
    files = GridFiles(tmp_path / "grid", {Secret("hunter2-hunter2")})
    files.prepare()
    kept = files.add(replace(record(Found.BROKEN), reason="key hunter2-hunter2 is\u2028wrong"))
    files.keeper(NAME)(kept.pair, "hunter2-hunter2")
    files.keep_log(NAME, "a.log", "hunter2-hunter2")
    there = sorted((tmp_path / "grid").rglob("*"))
    assert {one.stat().st_mode & 0o777 for one in there if one.is_file()} == {0o600}
    assert {one.stat().st_mode & 0o777 for one in [tmp_path / "grid", *there] if one.is_dir()} == {0o700}
    assert not any(b"hunter2" in one.read_bytes() for one in there if one.is_file())
    assert list(files.read().values()) == [kept]
