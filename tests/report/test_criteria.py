"""Table 1 as data: the verdicts of 2023-06-17, later facts beside them, and what a bad file is told."""

from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from click.testing import CliRunner

from vpnmesh.criteria import data as criteria
from vpnmesh.criteria.catalogue import Basis, CriteriaCatalogue, DatedFact, How, StatementSource, Value
from vpnmesh.criteria.evaluate import Verdict, evaluate
from vpnmesh.criteria.parse import parse
from vpnmesh.errors import InputError
from vpnmesh.solutions import SOLUTIONS
from workflows import criteria as command

PAPER = date(2023, 6, 17)
SOURCE = StatementSource("test", "a test", "")


@pytest.fixture(scope="module")
def catalogue() -> CriteriaCatalogue:
    return criteria.load()


def verdict(catalogue: CriteriaCatalogue, product: str, on: date, basis: Basis = Basis.CLAIMED) -> Verdict:
    return next(found for found in evaluate(catalogue, on, basis) if found.product.id == product)


def failed(found: Verdict) -> list[str]:
    return [answer.criterion.id for answer in found.failed]


def qualified(catalogue: CriteriaCatalogue, on: date, basis: Basis) -> list[str]:
    return [found.product.name for found in evaluate(catalogue, on, basis) if found.qualifies]


def test_the_papers_four_qualify_on_its_date(catalogue: CriteriaCatalogue) -> None:
    """As claimed on 2023-06-17, the four of section 3.1 qualify and nobody else."""
    expected = ["Headscale", "Netbird", "ZeroTier", "Netmaker"]
    assert expected == qualified(catalogue, PAPER, Basis.CLAIMED)


def test_what_the_paper_found_by_hand_counts_when_verified(catalogue: CriteriaCatalogue) -> None:
    """NetBird's and Netmaker's relays did not work over TCP then, Headscale's carries nothing over UDP: one is left."""
    assert qualified(catalogue, PAPER, Basis.VERIFIED) == ["ZeroTier"]
    assert failed(verdict(catalogue, "headscale", PAPER, Basis.VERIFIED)) == ["relay-udp"]
    assert failed(verdict(catalogue, "netbird", PAPER, Basis.VERIFIED)) == ["relay-tcp"]
    assert failed(verdict(catalogue, "netmaker", PAPER, Basis.VERIFIED)) == ["relay-tcp"]


@pytest.mark.parametrize(
    ("product", "expected"),
    [("innernet", ["relay-tcp"]), ("nebula", ["relay-tcp"]), ("tailscale", ["open-source"])],
)
def test_each_exclusion_has_the_papers_reason(
    catalogue: CriteriaCatalogue, product: str, expected: list[str]
) -> None:
    """Section 3.1 and footnote e name the one criterion each of these three fails."""
    assert expected == failed(verdict(catalogue, product, PAPER))


def test_every_product_has_every_cell_of_its_date(catalogue: CriteriaCatalogue) -> None:
    """No cell of Table 1 is a gap: eleven products, eleven criteria, each with a source."""
    cells = [
        (product.id, criterion.id)
        for product in catalogue.products
        for criterion in catalogue.criteria
        if catalogue.fact(product.id, criterion.id, PAPER) is None
    ]
    assert cells == []
    assert len(catalogue.products) == 11


def test_unknown_is_no_failure_and_no_yes(catalogue: CriteriaCatalogue) -> None:
    """A cell set to unknown keeps a product from qualifying without counting as failed."""
    fact = DatedFact("headscale", "acl", date(2023, 6, 18), Value.UNKNOWN, Value.UNKNOWN, How.DOCS, SOURCE)
    found = verdict(catalogue.adding(fact), "headscale", date(2023, 6, 18))
    assert (
        found.qualifies,
        failed(found),
        [answer.criterion.id for answer in found.unknown],
    ) == (False, [], ["acl"])


def test_one_flipped_cell_flips_the_verdict(catalogue: CriteriaCatalogue) -> None:
    """Headscale without ACLs on the same day is out, for that reason and no other."""
    facts = tuple(
        replace(fact, claimed=Value.UNMET)
        if (fact.product, fact.topic, fact.date) == ("headscale", "acl", PAPER)
        else fact
        for fact in catalogue.facts
    )
    found = verdict(replace(catalogue, facts=facts), "headscale", PAPER)
    assert failed(found) == ["acl"]
    assert "Access control: unmet (Kjorveziroski et al. 2024, Table 1, 2023-06-17, docs)" in found.explain()


def test_no_note_contradicts_its_cell(catalogue: CriteriaCatalogue) -> None:
    """A relay that a note calls TCP only is not one over UDP, and what was not tried was not found by hand."""
    over_udp = [fact for fact in catalogue.facts if fact.topic == "relay-udp"]
    tcp_alone = [fact for fact in over_udp if "TCP alone" in fact.note]
    assert [(fact.product, fact.value(Basis.VERIFIED)) for fact in tcp_alone] == [("headscale", Value.UNMET)]
    assert [fact.product for fact in catalogue.facts if "TCP only" in fact.note] == []
    untried = [fact for fact in (*catalogue.facts, *catalogue.usability) if "not tried" in fact.note]
    assert [fact.product for fact in untried] == ["headscale"]
    assert {fact.how for fact in untried} == {How.DOCS}


def test_later_facts_leave_earlier_verdicts_alone(catalogue: CriteriaCatalogue) -> None:
    """ZeroTier's controller left the open-source build on 2025-08-21; the day before it still passes."""
    answers = [
        catalogue.fact("zerotier", "open-source", day) for day in (date(2025, 8, 20), date(2025, 8, 21))
    ]
    assert [answer.claimed for answer in answers if answer] == [Value.MET, Value.UNMET]


def test_a_release_grows_old(catalogue: CriteriaCatalogue) -> None:
    """Half a year after the last known release nobody knows, which is said with the newest evidence."""
    found = verdict(catalogue, "wesher", date(2023, 12, 18)).answer("recent-release")
    assert found is not None
    assert (found.value, "the newest evidence is of 2023-06-17" in found.explain()) == (Value.UNKNOWN, True)


def test_nothing_is_known_before_the_first_evidence(catalogue: CriteriaCatalogue) -> None:
    """On a date before all evidence every answer is unknown and nobody qualifies."""
    verdicts = evaluate(catalogue, date(2020, 1, 1), Basis.CLAIMED)
    assert {Value.UNKNOWN} == {answer.value for found in verdicts for answer in found.answers}


def test_csv_is_all_that_stdout_holds() -> None:
    """Eleven rows; name, qualifies, failed first; true and false in small letters."""
    result = CliRunner().invoke(command.main, ["--date", "2023-06-17", "--csv"])
    frame = pl.read_csv(result.stdout.encode(), schema_overrides={"qualifies": pl.String})
    assert frame.height == 11
    assert frame.columns[:3] == ["name", "qualifies", "failed"]
    assert dict(frame["qualifies"].value_counts().iter_rows()) == {"true": 4, "false": 7}
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_table_explains_every_exclusion() -> None:
    """Without --csv a person reads a sentence per VPN."""
    result = CliRunner().invoke(command.main, ["--date", "2023-06-17"])
    text = " ".join(result.stdout.split())
    assert "Tailscale is excluded: Open source: unmet" in text
    assert "Headscale qualifies" in text


def test_a_bad_date_is_a_sentence() -> None:
    """Exit code 2 and no traceback for a date that is none."""
    result = CliRunner().invoke(command.main, ["--date", "yesterday"])
    assert result.exit_code == 2
    assert "does not match the format" in result.stderr


def replaced(texts: dict[str, str], old: str, new: str) -> dict[str, str]:
    """The texts with the first `old` of the first that has it replaced."""
    name = next(name for name, text in texts.items() if old in text)
    return {**texts, name: texts[name].replace(old, new, 1)}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("schema_version: 1", "schema_version: 9", "schema_version"),
        ("      open-source: met", "      open-sauce: met", "unknown criterion 'open-sauce'"),
        ("      acl: met", "      acl: yes", "observations.0.cells.acl"),
        ("source: paper-4", "source: paper-44", "unknown source 'paper-44'"),
        ("{id: headscale,", "{id: headscal,", "headscale.yaml: is about 'headscal'"),
        ("product:", "product: [", "no YAML"),
    ],
)
def test_a_bad_file_names_the_place(old: str, new: str, expected: str) -> None:
    """A slip in the data is one sentence that names the file and the key."""
    texts = replaced(criteria.statements(), old, new)
    with pytest.raises(InputError) as error:
        parse(criteria.criteria(), texts)
    assert expected in str(error.value)
    (changed,) = (name for name, text in criteria.statements().items() if text != texts[name])
    assert str(error.value).startswith(changed)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("schema_version: 1", "schema_version: 9", "criteria.yaml: schema_version"),
        ("{id: acl,", "{id: access,", "unknown criterion 'acl'"),
        ("  paper-4:", "  paper-44:", "unknown source 'paper-4'"),
        ("criteria:", "criteria: [", "no YAML"),
    ],
)
def test_bad_criteria_name_the_place(old: str, new: str, expected: str) -> None:
    """A slip in what all VPNs share, too."""
    with pytest.raises(InputError) as error:
        parse(criteria.criteria().replace(old, new, 1), criteria.statements())
    assert expected in str(error.value)


def test_two_rows_of_one_day_are_refused() -> None:
    """Which of two rows of a day counts would be chance."""
    texts = criteria.statements()
    begin, end = (texts["nebula.yaml"].index(f"  - date: {day}") for day in ("2026-10-29", "2026-11-29"))
    block = texts["nebula.yaml"][begin:end]
    with pytest.raises(InputError, match="two rows of 2026-10-29"):
        parse(criteria.criteria(), replaced(texts, block, block + block))


def test_a_vpn_without_statements_is_not_judged(catalogue: CriteriaCatalogue) -> None:
    """It can be measured, and is named; it is no row of Table 1, and nothing crashes."""
    assert criteria.not_judged(catalogue) == ("wireguard",)
    fewer = parse(
        criteria.criteria(),
        {name: text for name, text in criteria.statements().items() if name != "nebula.yaml"},
    )
    assert criteria.not_judged(fewer) == ("nebula", "wireguard")
    assert "nebula" not in {found.product.id for found in evaluate(fewer, PAPER, Basis.CLAIMED)}
    result = CliRunner().invoke(command.main, [])
    assert "wireguard is not judged" in result.stdout
    assert result.exit_code == 0


def test_a_solution_may_bring_its_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of the user's own is judged by what it states, after Table 1; a second file on a VPN is refused."""
    own = criteria.statements()["nebula.yaml"].replace("id: nebula", "id: wireguard")
    own = own.replace("name: Nebula", "name: WireGuard").replace("table_1_row: 11\n", "")
    monkeypatch.setattr(SOLUTIONS["wireguard"], "statements", own, raising=False)
    verdicts = evaluate(criteria.load(), PAPER, Basis.CLAIMED)
    assert [found.product.name for found in verdicts[-2:]] == ["Nebula", "WireGuard"]
    assert failed(verdicts[-1]) == ["relay-tcp"]
    monkeypatch.setattr(SOLUTIONS["nebula"], "statements", own, raising=False)
    with pytest.raises(InputError, match="solution nebula: brings statements that the project has"):
        criteria.load()
