"""What a run can attempt is known before anything is touched: missing programs, versions, and what must be there."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from vpnmesh.errors import InputError, UnavailableError
from vpnmesh.model import Testbed
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Binary
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.scenarios import BUILT_IN
from workflows.full_matrix import main
from workflows.run import availability
from workflows.run.listing import told_tests
from workflows.run.requirements import lacking_words

CHOSEN = ("native-1450", "nebula-direct", "zerotier-direct", "zerotier-relay")


def folder_with(tmp_path: Path, programs: dict[str, str]) -> str:
    """A folder with programs that print these texts."""
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{text}'\n")
        (tmp_path / name).chmod(0o755)
    return str(tmp_path)


def look(bed: Testbed, monkeypatch: pytest.MonkeyPatch, folder: str, scenario: str, keys: str = "") -> str:
    """What is said of a scenario where nodes look into one folder (and into the system's for `sh`)."""
    monkeypatch.setattr(availability, "SEARCH", folder)
    catalogue = BUILT_IN
    if keys:
        catalogue = BUILT_IN.with_file(f"mine: {{variant_of: {scenario}, {keys}}}".encode(), "mine.yaml")
        scenario = "mine"
    (found,) = availability.on_this_machine(bed, (catalogue.named(scenario),))
    assert found.scenario == scenario
    return found.said


def test_every_program_is_told_with_its_version_and_folder(
    bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_with(
        tmp_path, {"nebula": "Version: 1.10.3", "nebula-cert": "Version: 1.10.3", "ssh-keygen": ""}
    )
    assert look(bed, monkeypatch, folder, "nebula-direct") == f"nebula 1.10.3 in {folder}"
    assert look(bed, monkeypatch, folder, "native-1450") == "needs no program of a VPN"


def test_what_is_missing_is_told_once_with_the_way_to_it(
    bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = look(bed, monkeypatch, str(tmp_path), "zerotier-relay")
    assert said.startswith("unavailable: no binary zerotier-one, zerotier-idtool, zerotier-cli (")
    assert said.count("zerotier-one") == 1
    assert "; no binary curl (Debian package curl)" in said


@pytest.mark.parametrize("refused", ["", "Error: Unknown device type."])
def test_a_kernel_with_wireguard_stands_in_for_its_program(
    bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Of a machine without wireguard-go its kernel decides, which is asked by making such a link."""
    asked: list[object] = []

    def answer(commands: object) -> str:
        asked.append(commands)
        return refused

    monkeypatch.setattr(availability, "try_inside", answer)
    said = look(bed, monkeypatch, folder_with(tmp_path, {"wg": "wireguard-tools v1.0.2"}), "wireguard-direct")
    assert said.startswith("unavailable: no binary wireguard-go (" if refused else "wg 1.0.2 in ")
    assert asked == [[("ip", "link", "add", "tried0", "type", "wireguard")]]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('version: "1.9.5"', "unavailable: nebula is 1.10.3; mine wants 1.9.5"),
        ("program_folder: /nowhere/at/all", "unavailable: no nebula in /nowhere/at/all, where mine wants it"),
    ],
)
def test_a_version_or_a_folder_that_is_not_there(
    bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str, said: str
) -> None:
    folder = folder_with(
        tmp_path, {"nebula": "Version: 1.10.3", "nebula-cert": "Version: 1.10.3", "ssh-keygen": ""}
    )
    assert look(bed, monkeypatch, folder, "nebula-direct", keys) == said


def test_programs_that_tell_no_version_are_not_none_at_all(
    bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {one.name for one in SOLUTIONS["nebula"].binaries}
    monkeypatch.setattr(type(SOLUTIONS["nebula"]), "binaries", tuple(Binary(name) for name in sorted(names)))
    folder = folder_with(tmp_path, dict.fromkeys(names, ""))
    assert (
        look(bed, monkeypatch, folder, "nebula-direct") == "has its programs, none of which tells a version"
    )


def test_a_scenarios_own_folder_comes_first(
    bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, usual = tmp_path / "own", tmp_path / "usual"
    own.mkdir()
    usual.mkdir()
    folder_with(own, {"nebula": "Version: 1.10.3"})
    folder_with(usual, {"nebula": "Version: 1.6.1", "nebula-cert": "", "ssh-keygen": ""})
    said = look(bed, monkeypatch, str(usual), "nebula-direct", f"program_folder: {own}")
    assert said == f"nebula 1.10.3 in {own}"


def test_a_program_that_cannot_be_run_has_no_version_and_breaks_nothing(
    bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_with(tmp_path, {"nebula": "", "nebula-cert": "", "ssh-keygen": ""})
    Path(folder, "nebula").write_bytes(os.urandom(64))
    assert look(bed, monkeypatch, folder, "nebula-direct").startswith("nebula version not told in ")


def test_programs_that_come_the_same_way_are_told_together() -> None:
    """A program once, with all nodes that lack it; a way is written out once."""
    lacking = [
        ("one", ("a", "b"), "see there"),
        ("idtool", ("a", "b"), "see there"),
        ("cli", ("a",), "see there"),
        ("one", ("c",), "see there"),
        ("idtool", ("c",), "see there"),
        ("curl", ("c",), "Debian package curl"),
    ]
    assert lacking_words(lacking) == (
        "no binary one, idtool on a, b, c (see there); no binary cli on a (the same way);"
        " no binary curl on c (Debian package curl)"
    )


@pytest.mark.parametrize(
    ("listed", "wanted"),
    [
        (None, ()),
        ("", ()),
        (" nebula-direct,,nebula-direct", ("nebula-direct",)),
        (availability.ALL, CHOSEN),
    ],
)
def test_what_must_be_there(listed: str | None, wanted: tuple[str, ...]) -> None:
    assert wanted == availability.required(listed, CHOSEN)


def test_only_what_is_chosen_can_be_required() -> None:
    with pytest.raises(
        InputError, match=r"^--require: netbird-relay is not among .* chosen are: native-1450, "
    ):
        availability.required("nebula-direct,netbird-relay", CHOSEN)


def test_a_required_scenario_that_is_missing_is_an_error_and_another_is_not() -> None:
    """Scenarios that lack the same are one sentence."""
    reasons = {"zerotier-direct": "no binary zerotier-one", "zerotier-relay": "no binary zerotier-one"}
    availability.refuse_missing(("native-1450", "nebula-direct"), reasons)
    said = (
        "^required scenarios are unavailable here: zerotier-direct, zerotier-relay: no binary zerotier-one$"
    )
    with pytest.raises(UnavailableError, match=said):
        availability.refuse_missing(CHOSEN, reasons)


def test_a_plan_says_what_it_would_run_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No node is asked: a lab's nodes run this machine's programs. JSON stays a list of cells."""
    monkeypatch.setattr(availability, "SEARCH", str(tmp_path))
    shown = CliRunner().invoke(main, ["--plan", "--require", "native-1450"])
    assert shown.exit_code == 0, shown.output
    assert "zerotier-relay    unavailable: no binary zerotier-one" in shown.output
    assert "on request, by --scenarios: netbird-relay-tcp, wireguard-direct" in shown.output
    assert ", zerotier-relay: 36 repetitions, estimated " in shown.output
    chosen = CliRunner().invoke(main, ["--plan", "--scenarios", "native-1450"])
    assert "on request" not in chosen.output


def test_a_plan_of_other_machines_says_who_knows() -> None:
    """This machine's programs are not theirs."""
    shown = CliRunner().invoke(main, ["--plan", "--inventory", "baremetal"])
    assert shown.exit_code == 0, shown.output
    assert "--dry-run asks them" in shown.output


def test_a_test_without_its_programs_is_one_sentence_and_no_time(
    bed: Testbed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither a row per scenario nor minutes in the plan; with nothing else to do there is nothing to do."""
    plan = plan_matrix(PROFILES["quick"], bed.pairs, 1, master=bed.master.name)
    monkeypatch.setattr(
        availability, "SEARCH", folder_with(tmp_path, {"python3": "", "openssl": "", "hey": ""})
    )
    lacking = availability.tests_on_this_machine(plan)
    (told,) = told_tests(lacking)
    assert told == (
        "unavailable: api, api-hey: no binary kubernetes on k8s-master (make kube); no binary etcd on k8s-master"
        " (Debian package etcd-server)"
    )
    left = plan_matrix(
        availability.without_tests(plan.profile, lacking), bed.pairs, 1, master=bed.master.name
    )
    assert left.seconds == pytest.approx(plan.judged_s)
    assert {one.cell.test for one in left.cells} == {"tcp", "udp"}
    alone = replace(plan.profile, tests=("api",))
    with pytest.raises(
        UnavailableError, match="nothing can be measured here: api, api-hey: no binary kubernetes"
    ):
        availability.without_tests(alone, lacking)


def test_one_of_several_names_is_enough(
    bed: Testbed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """kube-apiserver on PATH is as good as the program of all of Kubernetes; hey is needed by hey's test alone."""
    plan = plan_matrix(PROFILES["quick"], bed.pairs, 1, master=bed.master.name)
    programs = dict.fromkeys(("python3", "openssl", "etcd", "kube-apiserver"), "")
    monkeypatch.setattr(availability, "SEARCH", folder_with(tmp_path, programs))
    assert availability.tests_on_this_machine(plan) == {
        "api-hey": "no binary hey on worker1 (Debian package hey)"
    }
