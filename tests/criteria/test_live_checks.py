"""What live checks saw, judged; kept as JSON; set beside what is claimed; and shown as pages. No node is asked."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from vpnmesh.criteria import data as criteria
from vpnmesh.criteria.catalogue import Basis, CriteriaCatalogue, Value
from vpnmesh.criteria.checks import CHECKS, NOT_LIVE, checks_named
from vpnmesh.criteria.observation import Finding, Observation, Part, judge
from vpnmesh.criteria.parse import parse
from vpnmesh.criteria.verified import (
    Verification,
    read_verification,
    side_by_side,
    statements_block,
    with_verified,
)
from vpnmesh.errors import InputError, UnknownNameError
from workflows import criteria as command
from workflows.reporting.verifications import prepare, verifications_in, write_pages
from workflows.run import verify_command
from workflows.run.site import Site
from workflows.run.verification import WAYS, EvidenceFolder

DAY = date(2026, 12, 2)
"""Later than all that ships: a day with two rows of a topic is refused."""
CONTROL = Observation("the same without", "passes", "passes", holds=True, part=Part.CONTROL, text="3 of 3")
GOOD = Observation("a packet", "is blocked", "is blocked", holds=True)
BAD = replace(GOOD, seen="passes", holds=False)


@pytest.fixture(scope="module")
def catalogue() -> CriteriaCatalogue:
    return criteria.load()


def finding(check: str, value: Value, reason: str = "seen") -> Finding:
    return Finding(check, value, reason, 1.5, (GOOD, CONTROL), ("headscale-direct",))


def verification(*findings: Finding, solution: str = "headscale") -> Verification:
    versions = {"tailscaled": "1.98.10", "headscale": "0.29.2"}
    return Verification(1, solution, versions, DAY, "lab", "lab", findings)


def test_what_holds_is_met_and_what_does_not_is_unmet() -> None:
    assert judge([GOOD, CONTROL]) == (Value.MET, "a packet: is blocked")
    assert judge([GOOD, BAD, CONTROL]) == (Value.UNMET, "a packet: passes, wanted is blocked")


def test_without_a_control_that_held_nothing_is_proven() -> None:
    """Whatever else was seen: a check that cannot fail decides nothing, for good or for bad."""
    broken = replace(CONTROL, seen="is blocked too", holds=False)
    for observations in ([GOOD, broken], [BAD, broken], [GOOD], [BAD], [CONTROL], []):
        assert judge(observations)[0] is Value.UNKNOWN
    assert "the check could not have failed: the same without: is blocked too" in judge([GOOD, broken])[1]


def test_what_is_only_told_decides_nothing() -> None:
    told = replace(BAD, part=Part.TOLD)
    assert judge([GOOD, told, CONTROL])[0] is Value.MET
    assert judge([told, CONTROL])[0] is Value.UNKNOWN


def test_every_criterion_has_a_check_or_a_reason(catalogue: CriteriaCatalogue) -> None:
    """None of Table 1 is passed over, and every check has a way and a control."""
    checked = {check.id for check in CHECKS}
    assert {criterion.id for criterion in catalogue.criteria} <= checked | set(NOT_LIVE)
    assert not checked & set(NOT_LIVE)
    assert checked == set(WAYS)
    assert all(check.control for check in CHECKS)


def test_checks_are_chosen_by_name() -> None:
    assert [one.id for one in checks_named(["acl", "full-mesh"])] == ["full-mesh", "acl"]
    with pytest.raises(UnknownNameError, match="--only: unknown check 'nope'; known are: full-mesh"):
        checks_named(["nope"])


def test_a_verification_is_read_as_it_was_written() -> None:
    """But for what nodes said, which is in files of its own."""
    found = verification(finding("acl", Value.MET))
    bare = replace(found.findings[0], observations=(GOOD, replace(CONTROL, text="")))
    assert read_verification(found.to_json(), "here") == replace(found, findings=(bare,))


def test_what_was_found_before_on_the_same_day_stays(catalogue: CriteriaCatalogue) -> None:
    """So that some checks can be made again without losing the others; not those of other programs."""
    first = verification(finding("acl", Value.UNMET), finding("self-hosted", Value.MET))
    again = first.with_finding(finding("acl", Value.MET)).with_finding(finding("full-mesh", Value.MET))
    assert [(one.check, one.value) for one in again.findings] == [
        ("full-mesh", Value.MET),
        ("acl", Value.MET),
        ("self-hosted", Value.MET),
    ]
    assert verification().goes_on_with(again)
    assert not verification(solution="netbird").goes_on_with(again)
    assert not replace(verification(), versions={"headscale": "0.30.0"}).goes_on_with(again)


def test_a_finding_of_no_known_check_is_refused() -> None:
    data = verification(finding("acl", Value.MET)).to_json().replace(b'"acl"', b'"nope"')
    with pytest.raises(UnknownNameError, match="here: unknown check 'nope'"):
        read_verification(data, "here")


@pytest.mark.parametrize("data", [b"", b"{}", b'{"schema_version": 2}', b"[1]", b"\xff"])
def test_what_is_none_is_a_sentence(data: bytes) -> None:
    with pytest.raises(InputError, match=r"^here: "):
        read_verification(data, "here")


def test_a_verified_value_counts_from_its_day(catalogue: CriteriaCatalogue) -> None:
    """With version and date in its evidence; the day before, and as claimed, all is as it was."""
    known = with_verified(catalogue, [verification(finding("acl", Value.UNMET, "2 packets passed"))])
    fact = known.fact("headscale", "acl", DAY)
    assert fact is not None
    assert (fact.value(Basis.VERIFIED), fact.value(Basis.CLAIMED)) == (Value.UNMET, Value.MET)
    assert "tailscaled 1.98.10, headscale 0.29.2" in fact.evidence()
    assert "2026-12-02" in fact.evidence()
    assert "2 packets passed" in fact.evidence()
    before = known.fact("headscale", "acl", date(2026, 11, 28))
    assert before is not None
    assert before.value(Basis.VERIFIED) is Value.MET


def test_what_stayed_unknown_takes_nothing_away(catalogue: CriteriaCatalogue) -> None:
    """A check that could not be made leaves what was verified by hand before."""
    known = with_verified(catalogue, [verification(finding("full-mesh", Value.UNKNOWN, "no lab"))])
    assert known == catalogue


def test_what_is_no_criterion_of_table_1_is_a_matter_of_usability(catalogue: CriteriaCatalogue) -> None:
    known = with_verified(catalogue, [verification(finding("self-hosted", Value.MET))])
    assert known.facts == catalogue.facts
    fact = known.fact("headscale", "self-hosted", DAY)
    assert fact is not None
    assert (fact.claimed, fact.verified) == (Value.UNKNOWN, Value.MET)


def test_a_vpn_that_nobody_judged_is_left_out(catalogue: CriteriaCatalogue) -> None:
    found = verification(finding("full-mesh", Value.MET), solution="wireguard")
    assert with_verified(catalogue, [found]) == catalogue


def test_the_block_can_be_added_to_the_file_of_statements(catalogue: CriteriaCatalogue) -> None:
    """As it is printed: the file with it is read, and gives the same facts as the folder does."""
    found = verification(finding("acl", Value.UNMET, 'a "quoted": reason'), finding("self-hosted", Value.MET))
    texts = criteria.statements()
    held, block = yaml.safe_load(texts["headscale.yaml"]), yaml.safe_load(statements_block(catalogue, found))
    held["sources"] |= block["sources"]
    held["observations"] += block["observations"]
    held["usability"] += block["usability"]
    again = parse(criteria.criteria(), texts | {"headscale.yaml": yaml.safe_dump(held)})
    known = with_verified(catalogue, [found])
    for topic in ("acl", "self-hosted"):
        assert again.fact("headscale", topic, DAY) == known.fact("headscale", topic, DAY)


def test_claimed_and_verified_stand_side_by_side(catalogue: CriteriaCatalogue) -> None:
    """Every criterion has a line, also one that was not checked, with the reason."""
    lines = {line.topic: line for line in side_by_side(catalogue, verification(finding("acl", Value.UNMET)))}
    assert {criterion.id for criterion in catalogue.criteria} <= set(lines)
    assert (lines["acl"].claimed, lines["acl"].verified) == (Value.MET, Value.UNMET)
    assert (lines["relay-tcp"].verified, lines["relay-tcp"].reason) == (Value.UNKNOWN, "was not asked for")
    assert "nothing on a testbed can show it" in lines["open-source"].reason


def test_pages_show_every_observation(catalogue: CriteriaCatalogue, tmp_path: Path) -> None:
    found = verification(finding("acl", Value.UNMET, "<b>2 passed</b>"))
    folder = tmp_path / "headscale"
    folder.mkdir()
    (folder / "verification.json").write_bytes(found.to_json())
    write_pages(catalogue, found, tmp_path)
    page = (folder / "report.html").read_text()
    assert "&lt;b&gt;2 passed&lt;/b&gt;" in page
    assert "shows that it can fail" in page
    assert "met | unmet" in (tmp_path / "report.html").read_text()
    assert [one.solution for one in verifications_in(tmp_path)] == ["headscale"]


def test_the_command_counts_what_a_folder_holds(tmp_path: Path) -> None:
    """`--verified` changes who qualifies, as verified."""
    folder = tmp_path / "headscale"
    folder.mkdir()
    (folder / "verification.json").write_bytes(verification(finding("acl", Value.UNMET)).to_json())
    asked = ["--date", "2026-12-02", "--basis", "verified"]
    without = CliRunner().invoke(command.main, asked)
    with_it = CliRunner().invoke(command.main, [*asked, "--verified", str(tmp_path)])
    assert "Headscale qualifies" in " ".join(without.stdout.split())
    assert "Headscale is excluded: Access control: unmet (checked live on lab" in " ".join(
        with_it.stdout.split()
    )


def test_evidence_is_for_its_owner_alone_and_replaced_whole(tmp_path: Path) -> None:
    """Folders that are made and files, whatever the umask; a folder that was there stays as it is."""
    tmp_path.chmod(0o755)
    out = tmp_path / "out"
    prepare(out, "headscale")
    evidence = EvidenceFolder(out / "headscale", Site(None, None))  # type: ignore[arg-type]
    evidence.keep(finding("acl", Value.MET))
    evidence.write("verification.json", b"torn")
    before = (out / "headscale" / "verification.json").stat().st_ino
    evidence.write("verification.json", verification(finding("acl", Value.MET)).to_json())
    assert (out / "headscale" / "verification.json").stat().st_ino != before
    write_pages(criteria.load(), verification(finding("acl", Value.MET)), out)
    modes = {path.stat().st_mode & 0o777 for path in (out, *out.rglob("*"))}
    assert modes == {0o700, 0o600}
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("bad", ["a file", "torn", "a neighbour torn", "a folder in its place"])
def test_a_bad_out_is_a_sentence_before_anything_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    def touched(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(verify_command, "may_change", touched)
    out = tmp_path / "out"
    if bad == "a file":
        out.write_text("")
    else:
        path = out / ("netbird" if "neighbour" in bad else "headscale") / "verification.json"
        path.parent.mkdir(parents=True)
        path.mkdir() if "folder" in bad else path.write_bytes(b'{"schema_version": 1, "sol')
    result = CliRunner().invoke(command.main, ["--verify", "headscale", "--out", str(out)])
    assert (result.exit_code, str(out) in result.stderr) == (2, True), result.output


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--verify", "nope"], "--verify: unknown solution 'nope'; known are: headscale"),
        (["--verify", "native"], "--verify: unknown solution 'native'"),
        (["--verify", "headscale", "--only", "nope"], "--only: unknown check 'nope'"),
        (["--only", "acl"], "--only: is of a live check; give --verify SOLUTION, too"),
        (["--plan"], "--plan: is of a live check"),
        (["--verified", "nowhere"], "nowhere: holds no verification.json"),
    ],
)
def test_bad_input_is_a_sentence(arguments: list[str], problem: str) -> None:
    result = CliRunner().invoke(command.main, arguments)
    assert (result.exit_code, problem in " ".join(result.stderr.split())) == (2, True), result.stderr


def test_the_plan_names_what_is_asked_and_how_it_could_fail() -> None:
    result = CliRunner().invoke(command.main, ["--verify", "headscale", "--plan", "--only", "acl"])
    assert result.exit_code == 0
    assert "acl: Access control" in result.stdout
    assert "control: before and after, the same packets pass" in result.stdout
    assert "open-source: not checked" in result.stdout
