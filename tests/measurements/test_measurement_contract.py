"""What holds for every kind of test: names, figures, time, and that half an answer is never a number."""

import math
import re

import pytest

from tests.measurements.cases import cases, question
from tests.measurements.silent import SilentSession
from vpnmesh.errors import ToolError, VpnmeshError
from vpnmesh.measurements import MEASUREMENTS
from vpnmesh.measurements.protocol import Measurement, Settings
from vpnmesh.model import PAPER_CONDITIONS

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
ENDINGS = {
    "Mbit/s": "_mbit_s",
    "%": "_pct",
    "ms": "_ms",
    "s": "_s",
    "bytes": "_bytes",
    "MB": "_mb",
    "1/s": "_per_s",
}
every = pytest.mark.parametrize("measurement", MEASUREMENTS.values(), ids=MEASUREMENTS)
SHARES = (0.0, 0.05, 0.2, 0.5, 0.9)


@every
def test_the_name_is_a_slug(measurement: Measurement) -> None:
    """It is a folder, a word on the command line and a value of a column."""
    assert SLUG.fullmatch(measurement.name)


@every
def test_figures_end_in_their_units(measurement: Measurement) -> None:
    """A count has neither; the headline is always there; no name twice."""
    names = [figure.name for figure in measurement.figures]
    assert len(set(names)) == len(names) > 0
    assert not measurement.figures[0].optional
    for figure in measurement.figures:
        assert figure.title
        assert figure.decimals >= 0
        if figure.unit:
            assert figure.name.endswith(ENDINGS[figure.unit]), figure
        else:
            assert not [end for end in ENDINGS.values() if figure.name.endswith(end)], figure


@every
def test_a_repetition_takes_its_time(measurement: Measurement) -> None:
    """More than none, under every condition, and never less for more seconds asked."""
    for condition in PAPER_CONDITIONS:
        short, long = (measurement.seconds(Settings(seconds), condition) for seconds in (1, 60))
        assert 0 < short <= long < math.inf
    assert measurement.asked_under(PAPER_CONDITIONS[0])


@every
def test_captured_files_give_the_declared_figures(measurement: Measurement) -> None:
    """Each folder gives exactly its own; only optional ones may lack; together they give all that are declared."""
    declared = {figure.name: figure.optional for figure in measurement.figures}
    found = set[str]()
    for case in cases(measurement.name):
        measured = measurement.parse(case.raw, case.question)
        given = {sample.name: sample.value for sample in measured.samples}
        assert given == pytest.approx(case.figures), case.name
        assert {name for name in declared if name not in given} <= {n for n, o in declared.items() if o}
        found |= set(given)
    assert found == set(declared)


@every
def test_missing_and_empty_files_are_a_reason(measurement: Measurement) -> None:
    """A run that was killed leaves either."""
    for case in cases(measurement.name):
        for raw in ({}, dict.fromkeys(case.raw, "")):
            with pytest.raises(ToolError):
                measurement.parse(raw, case.question)


@every
def test_files_that_are_cut_off_are_a_reason(measurement: Measurement) -> None:
    """At no place does a cut make a crash or a figure that is not declared; at the latest a twentieth is too little."""
    declared = {figure.name for figure in measurement.figures}
    for case in cases(measurement.name):
        for share in SHARES:
            raw = {name: text[: int(share * len(text))] for name, text in case.raw.items()}
            try:
                measured = measurement.parse(raw, case.question)
            except ToolError:
                continue
            assert share > SHARES[1], case.name
            assert {sample.name for sample in measured.samples} <= declared


@every
def test_nodes_that_say_nothing_are_a_failure(measurement: Measurement) -> None:
    """Asked with no answer at all, what was kept is no measurement; everything that was kept is text."""
    session = SilentSession(question("nebula-direct"))
    try:
        measurement.ask(session)
    except VpnmeshError:
        pass
    else:
        with pytest.raises(VpnmeshError):
            measurement.parse(session.raw, session.question)
    assert all(SLUG.fullmatch(name.partition(".")[0]) for name in session.raw)
    assert session.raw
