"""An inventory from answers: the defaults are a testbed, wrong answers are refused at once, nothing is overwritten."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from inventory.answered import documents_of
from inventory.load import load
from inventory.questions import questions
from vpnmesh.errors import InputError
from workflows import inventory
from workflows.run import asking
from workflows.run.asking import ask, given_answers


def init(folder: Path, *words: str, typed: str = "") -> Result:
    """The command with these words, and what a person types meanwhile."""
    return CliRunner().invoke(inventory.main, ["init", str(folder), *words], input=typed)


def test_the_defaults_are_a_testbed_and_mark_nobody(tmp_path: Path) -> None:
    """Six machines in VLANs 10 to 50; none may be changed before its owner says so."""
    done = init(tmp_path / "bed", "--defaults")
    assert done.exit_code == 0, done.output
    assert "no host is marked" in done.output
    nr, testbed = load(str(tmp_path / "bed"))
    assert sorted(vlan.vid for vlan in testbed.vlans) == [10, 20, 30, 40, 50]
    assert len(testbed.nodes) == 6
    assert not any(host.data.get("testbed") for host in nr.inventory.hosts.values())


def test_answers_are_where_they_belong(tmp_path: Path) -> None:
    """What was given, what follows from it, and what only a pfSense needs."""
    words = (
        "domain=-",
        "worker1.vlan=120",
        "firewall.driver=pfsense-rest",
        "mine=yes",
        "firewall.relay=opt9",
    )
    done = init(tmp_path / "bed", "--defaults", *(part for word in words for part in ("--set", word)))
    assert done.exit_code == 0, done.output
    hosts = yaml.safe_load((tmp_path / "bed" / "hosts.yaml").read_text())
    assert hosts["worker1"]["hostname"] == "worker1"
    assert hosts["worker1"]["data"]["underlay"] == "10.10.120.10/24"
    data = hosts["firewall"]["data"]
    assert data["legs"] == {10: "opt1", 120: "opt2", 30: "opt3", 40: "opt9", 50: "opt5"}
    assert (data["firewall_driver"], data["pfsense_url"]) == ("pfsense-rest", "https://firewall")
    assert all(host["data"]["testbed"] is True for host in hosts.values())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("worker1.vlan=10", r"worker1.vlan: '10' is that of k8s-master already"),
        ("worker1.vlan=4095", r"no VLAN id"),
        ("worker1.prefix=10.10.10.0/25", r"overlaps 10.10.10.0/24, the answer to k8s-master.prefix"),
        ("worker1.prefix=10.10.20.0/31", r"no room"),
        ("worker1.prefix=all", r"no IPv4 prefix"),
        ("worker1.underlay=10.10.30.10", r"no host's address in 10.10.20.0/24"),
        ("worker1.underlay=10.10.20.255", r"no host's address"),
        ("worker1.underlay=10.10.20.1", r"is the router's address there"),
        ("worker1.hostname=k8s-master.example.net", r"is that of k8s-master already"),
        ("worker1.hostname=a b", r"neither an IP address nor a DNS name"),
        ("worker1.kind=vm", r"allow_virtual_forwarding: 'no' leaves no way"),
        ("worker1.interface=eth 0", r"is no interface"),
        ("worker1.colour=red", r"unknown question 'worker1.colour'"),
        ("worker1", r"no KEY=VALUE"),
    ],
)
def test_a_wrong_answer_is_one_sentence_and_nothing_is_written(wrong: str, told: str, tmp_path: Path) -> None:
    """It names the question; exit code 2."""
    done = init(tmp_path / "bed", "--defaults", "--set", wrong)
    assert done.exit_code == 2
    with pytest.raises(InputError, match=told):
        documents_of(ask(questions(), given_answers([wrong], questions()), defaults=True))
    assert not (tmp_path / "bed").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """The file is named, before anything is asked."""
    (tmp_path / "hosts.yaml").write_text("mine")
    done = init(tmp_path, "--defaults")
    assert done.exit_code == 2
    assert "is there already" in done.output
    assert (tmp_path / "hosts.yaml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["hosts.yaml"]


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    """The question and both ways out are named."""
    done = init(tmp_path / "bed")
    assert done.exit_code == 2
    assert "testbed: is not known" in done.output
    assert "--defaults" in done.output


def test_a_person_is_asked_again_after_a_wrong_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only for what was not given; with what is wrong, and nothing that was answered before is lost."""
    known = ask(questions(), {}, defaults=True)
    pairs = [f"{key}={value}" for key, value in known.items() if key != "worker2.vlan"]
    monkeypatch.setattr(asking, "is_terminal", lambda: True)
    words = [part for pair in pairs for part in ("--set", pair)]
    done = init(tmp_path / "bed", *words, typed="20\n31\n")
    assert done.exit_code == 0, done.output
    assert "'20' is that of worker1 already" in done.output
    assert "role__k8s-worker" in (tmp_path / "bed" / "groups.yaml").read_text()
    assert 31 in {vlan.vid for vlan in load(str(tmp_path / "bed"))[1].vlans}


def test_every_question_is_listed() -> None:
    """With its key, for --set."""
    done = CliRunner().invoke(inventory.main, ["init", "--questions"])
    assert done.exit_code == 0
    assert all(question.key in done.output for question in questions())
