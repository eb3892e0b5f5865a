"""What two runs must share to be compared, what may differ and is said, and what the first screen names."""

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from tests.report.test_runs import Line, line, rate, report
from tests.report.test_runs import run as journaled
from vpnmesh.errors import InputError
from vpnmesh.report import first_screen
from vpnmesh.report.setting import refuse_mixed
from vpnmesh.report.tables import Study
from workflows.report import main
from workflows.reporting.studies import study_from_run

PLACED = {"placement": "underlay:client:auto", "engine": "netem"}
PROFILE = {
    "name": "custom",
    "duration_s": 10,
    "omit_s": 1,
    "congestion": "cubic",
    "udp_rate": "0",
    "udp_window": "",
    "blocks": 2,
}
MANIFEST: dict[str, object] = {
    "lab": {"port_rate_mbit_s": 1000.0},
    "engine": "netem",
    "profile": PROFILE,
    "started_at": "2026-11-23T09:00:00+00:00",
    "testbed": {"nodes": [{"name": "worker1", "kind": "netns"}]},
    "nodes": {"worker1": {"kernel": "6.1", "cpu": "One", "cores": "2", "nebula -version": "1.9"}},
}


def run(folder: Path, change: Mapping[str, object] | None = None, **columns: object) -> Path:
    """Two scenarios, eight repetitions each in two visits; `change` is of the manifest, `columns` of all lines."""
    events: list[Line] = [
        {**line(name, "tcp", rate(mean + n), n), **PLACED, "visit": 1 + n % 2, "data_plane": plane, **columns}
        for name, mean, plane in (("native-1450", 900.0, "none"), ("nebula-direct", 200.0, "userspace"))
        for n in range(1, 9)
    ]
    made = journaled(folder, events)
    known = {**json.loads((made / "manifest.json").read_text()), **MANIFEST, **(change or {})}
    (made / "manifest.json").write_text(json.dumps(known))
    return made


def compare(a: Path, b: Path, *more: object) -> Result:
    return CliRunner().invoke(main, ["--compare", str(a), str(b), *map(str, more)])


# ---- what is refused


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize(
    ("change", "columns", "named"),
    [
        ({}, {"placement": "vxlan:client:auto"}, "placement underlay:client:auto against vxlan:client:auto"),
        (
            {},
            {"placement": "underlay:both:auto"},
            "placement underlay:client:auto against underlay:both:auto",
        ),
        ({}, {"placement": "underlay:client:1000"}, "against underlay:client:1000"),
        ({}, {"engine": "nfqueue"}, "engine netem against nfqueue"),
        ({"lab": None}, {}, "substrate lab, impaired by netem against hosts, impaired by netem"),
        ({"lab": {"port_rate_mbit_s": 100.0}}, {}, "port rate in Mbit/s 1000.0 against 100.0"),
        (
            {"lab": {"port_rate_mbit_s": 1000.0, "replayed_paths": ["a - b: 5.00 ms"]}},
            {},
            "replayed paths none against a - b: 5.00 ms",
        ),
        ({"testbed": {"nodes": [{"kind": "vm"}]}}, {}, "kinds of nodes netns against vm"),
        ({"profile": {**PROFILE, "duration_s": 1}}, {}, "seconds per repetition 10 against 1"),
        ({"profile": {**PROFILE, "omit_s": 0}}, {}, "omitted seconds 1 against 0"),
        ({"profile": {**PROFILE, "congestion": "bbr"}}, {}, "congestion control cubic against bbr"),
        ({"profile": {**PROFILE, "udp_rate": "100M"}}, {}, "UDP rate 0 against 100M"),
        ({"profile": {**PROFILE, "udp_window": "2M"}}, {}, "UDP window default against 2M"),
        ({"profile": {}}, {}, "seconds per repetition 10 against not recorded"),
    ],
)
def test_runs_that_measured_different_things_are_refused(
    tmp_path: Path, change: dict[str, object], columns: dict[str, object], named: str, *, gated: bool
) -> None:
    """Neither compared nor gated: one sentence names what differs and the way out, with exit code 2."""
    gate = tmp_path / "gate.yaml"
    gate.write_text("")
    told = compare(
        run(tmp_path / "a"), run(tmp_path / "b", change, **columns), *(("--gate", gate) if gated else ())
    )
    assert told.exit_code == 2, told.output
    assert named in told.stderr
    assert "measure one of them again" in told.stderr
    assert (told.stdout, len(told.stderr.splitlines())) == ("", 1)


def test_an_option_that_mends_it_is_named(tmp_path: Path) -> None:
    """Placement and duration have options: the sentence says which."""
    changed = {"profile": {**PROFILE, "duration_s": 1}}
    told = compare(run(tmp_path / "a"), run(tmp_path / "b", changed, placement="pod:client:auto"))
    assert "(--placement, --duration as in the first)" in told.stderr


# ---- what is only said


@pytest.mark.parametrize(
    ("change", "columns", "named"),
    [
        ({"started_at": "2027-01-01"}, {}, "note: started at: 2026-11-23T09:00:00+00:00 against 2027-01-01"),
        ({"seed": 7}, {}, "note: seed: not recorded against 7"),
        ({"profile": {**PROFILE, "blocks": 5}}, {}, "note: blocks: 2 against 5"),
        ({"versions": {"nebula -version": "1.10"}}, {}, "note: version of nebula -version: 1.9 against 1.10"),
        ({"allow_virtual_forwarding": True}, {}, "note: allow virtual forwarding: not recorded against True"),
        ({}, {"data_plane": "kernel"}, "note: data plane of nebula-direct: userspace against kernel"),
    ],
)
def test_what_a_comparison_is_for_is_said(
    tmp_path: Path, change: dict[str, object], columns: dict[str, object], named: str
) -> None:
    """Versions, day, seed, blocks and the data plane may differ; each is a note."""
    told = compare(run(tmp_path / "a"), run(tmp_path / "b", change, **columns))
    assert (told.exit_code, named in told.stderr) == (0, True), told.output


def test_what_neither_run_recorded_is_said(tmp_path: Path) -> None:
    """Two runs that both keep silent on their seconds are compared, and the reader is told of the silence."""
    told = compare(run(tmp_path / "a", {"profile": {}}), run(tmp_path / "b", {"profile": {}}))
    assert told.exit_code == 0
    assert "not recorded by either run, so taken to be alike: seconds per repetition" in told.stderr


def test_other_nodes_are_another_machine(tmp_path: Path) -> None:
    """Another pair of workers is compared by its own baseline."""
    told = compare(run(tmp_path / "a"), run(tmp_path / "b", pair="worker3>worker4"), "--out", tmp_path / "o")
    assert told.exit_code == 0, told.output
    assert "note: pairs: worker1>worker2 against worker3>worker4" in told.stderr
    assert set(pl.read_csv(tmp_path / "o" / "tables" / "changes.csv")["basis"]) == {"own baseline"}


def test_a_comparison_says_what_it_compared(tmp_path: Path) -> None:
    """Placement, engine and seconds of both stand on the terminal."""
    told = compare(run(tmp_path / "a"), run(tmp_path / "b"))
    for side in ("first", "second"):
        assert f"{side}: impaired at: underlay:client:auto" in told.stdout
    assert told.stdout.count("impaired by: netem; seconds per repetition: 10, after 1 omitted") == 2


def test_two_figures_change_nothing(tmp_path: Path) -> None:
    """Twice 300 against twice 100 is no change that two figures could show."""
    folders = []
    for name, mean in (("a", 300.0), ("b", 100.0)):
        events = [{**line("nebula-direct", "tcp", rate(mean + n), n), **PLACED} for n in (1, 2)]
        folders.append(journaled(tmp_path / name, events))
    told = compare(*folders, "--out", tmp_path / "o")
    (row,) = pl.read_csv(tmp_path / "o" / "tables" / "changes.csv").to_dicts()
    assert (told.exit_code, row["change"], row["low"]) == (0, "too few", None)


# ---- one run of two settings


@pytest.mark.parametrize(
    ("column", "other"), [("placement", "vxlan:client:auto"), ("engine", "nfqueue"), ("engine", None)]
)
@pytest.mark.parametrize("journal", [True, False])
def test_mixed_repetitions_are_never_pooled(
    tmp_path: Path, column: str, other: str | None, *, journal: bool
) -> None:
    """A run resumed elsewhere, or a table put together: one sentence with the counts, no report."""
    events: list[Line] = [{**line("native-1450", "tcp", rate(900.0 + n), n), **PLACED} for n in (1, 2, 3)]
    events[2][column] = other
    folder = journaled(tmp_path / "run", events)
    if not journal:
        (folder / "journal.jsonl").unlink()
    told = report(folder)
    assert told.exit_code == 2, told.output
    assert f"repetitions of more than one {column} are never pooled" in told.stderr
    assert f"{PLACED[column]} (2 repetitions)" in told.stderr
    assert f"{other or 'not recorded'} (1 repetitions)" in told.stderr


def test_what_was_never_attempted_mixes_nothing(tmp_path: Path) -> None:
    """A row that stands for a cell without attempts says nothing of a place."""
    frame = study_from_run(run(tmp_path / "a")).samples
    absent = frame.head(1).with_columns(
        outcome=pl.lit("failed"), stage=pl.lit("unavailable"), placement=pl.lit("pod:both:auto")
    )
    assert refuse_mixed(pl.concat([frame, absent]), "x").height == frame.height + 1
    with pytest.raises(InputError, match="more than one placement"):
        refuse_mixed(pl.concat([frame, absent.with_columns(stage=pl.lit("path"))]), "x")


# ---- the first screen


@pytest.fixture
def page(tmp_path: Path) -> tuple[str, str, str]:
    """HTML before its folded parts, Markdown before its first section, and the terminal, of one run."""
    folder = run(tmp_path / "run", {"allow_virtual_forwarding": True}, visit=1)
    told = report(folder)
    assert told.exit_code == 0, told.output
    html = (folder / "report" / "report.html").read_text().split("<main")[0]
    return html, (folder / "report" / "report.md").read_text().split("\n## ")[0], told.stdout


@pytest.mark.parametrize(
    "text",
    [
        "underlay:client:auto (below the VPN; what the client sends; queue sized to the delay)",
        "netem",
        "10, after 1 omitted",
        "nebula-direct userspace",
        "all nodes share its 2 cores",
        "no bare-metal results",
        "each scenario was visited once",
    ],
)
def test_the_first_screen_names_how_figures_came_about(page: tuple[str, str, str], text: str) -> None:
    """In HTML, Markdown and on the terminal, on the first screen."""
    html, markdown, terminal = page
    assert (text in html.replace("&#39;", "'"), text in markdown, text in terminal) == (True, True, True)


def facts(study: Study) -> dict[str, str]:
    return dict(first_screen.facts(study))


def test_repetitions_are_those_that_were_attempted(tmp_path: Path) -> None:
    assert facts(study_from_run(run(tmp_path / "run")))["Repetitions per cell"] == "8"


def test_two_visits_are_no_confusion_of_time_and_scenario(tmp_path: Path) -> None:
    """Nothing is said of the order where scenarios were visited again, or where there is one alone."""
    assert "Order" not in facts(study_from_run(run(tmp_path / "twice")))
    alone = journaled(tmp_path / "alone", [{**line("native-1450", "tcp", rate(9.0)), "visit": 1}])
    assert "Order" not in facts(study_from_run(alone))


def test_imports_say_that_nothing_was_recorded(handmade: Study) -> None:
    """Results of others do not say where they were impaired: that is said, not left out."""
    found = facts(handmade)
    assert (found["Impaired at"], found["Impaired by"]) == ("not recorded", "not recorded")
    assert "impaired" not in first_screen.line(handmade)
