"""What a run asked about a pair is in its journal, and in the report's table."""

from datetime import UTC, datetime

from tests.why.seen import ALL_ON, PAIR, healthy, with_state
from vpnmesh.frames.events import WHY, diagnoses
from vpnmesh.study.journal import FindingShown, JournalEvent, PairDiagnosed, parse_event
from vpnmesh.why.judge import diagnose
from vpnmesh.why.words import record


def journalled() -> JournalEvent:
    """A failed repetition's diagnosis, written and read again."""
    off = {**ALL_ON, "generic-segmentation-offload": False}
    found = diagnose(with_state(healthy(), "worker1", offloads={"eth0": off}))
    asked = PairDiagnosed(
        scenario="nebula-direct", pair=str(PAIR), about="path", condition="none", test="tcp", repetition=2
    )
    shown = [FindingShown.model_validate(record(one)) for one in found]
    return parse_event(asked.with_answer("as it is", shown).stamped(datetime.now(UTC)).line())


def test_a_diagnosis_is_a_line_of_the_journal() -> None:
    event = journalled()
    assert isinstance(event, PairDiagnosed)
    assert (event.scenario, event.about, event.repetition, event.path) == (
        "nebula-direct",
        "path",
        2,
        "as it is",
    )
    assert event.findings[0].evidence[0]["command"] == "ethtool -k eth0"


def test_the_report_has_a_row_per_finding() -> None:
    """One without any finding has a row, too: nobody takes a missing row for a healthy pair."""
    nothing = PairDiagnosed(scenario="nebula-direct", pair=str(PAIR), about="relayed", path="relayed")
    rows = diagnoses([journalled(), nothing, nothing]).to_dicts()
    assert [row["about"] for row in rows] == ["path none tcp 2", "relayed"]
    assert (rows[0]["effect"], rows[0]["cause"], rows[0]["where"]) == ("slow", "offload", "worker1")
    assert rows[0]["do"] == "ethtool -K eth0 gso on"
    assert rows[1]["found"] == "no cause was found"
    assert diagnoses([]).columns == list(WHY)
