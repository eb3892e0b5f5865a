"""Whether the newest run of a history is worse than those before it, cell by cell.

Its mean is held against the level before it: the runs since the last change of that level. From six such runs on the
spread from run to run decides (Student's prediction of one more run's mean). With fewer that spread is not known, and
the run is compared with the one before it by their repetitions, as `--compare A B --gate` does.
"""

import math

import numpy as np

from vpnmesh.report.changes import Gate, LogRatio, ratio_of
from vpnmesh.report.history import By, History, Line, Point
from vpnmesh.report.judged_cells import JudgedCell
from vpnmesh.stats.intervals import fewest_for_interval


def judge_newest(history: History, gate: Gate) -> tuple[JudgedCell, ...]:
    """Every cell of the newest run's series; a cell of older runs alone is skipped with the reason."""
    newest = history.newest.run
    series = next(line.series for line in history.lines if any(one.run == newest for one in line.points))
    return tuple(_judged(line, newest, gate, history.by) for line in history.lines if line.series == series)


def _judged(line: Line, newest: str, gate: Gate, by: By) -> JudgedCell:
    cell = JudgedCell(f"{line.scenario} {line.condition} {line.test}", f"{line.test}.{line.condition}")
    last, before = line.points[-1], [point for point in line.points[:-1] if point.sample.n]
    # over versions the last point is that of the newest version, whenever it was measured
    if by is By.DATE and last.run != newest:
        return _with(cell, skipped=f"not attempted by the newest run; last by {last.name}")
    if not before:
        return _with(cell, skipped="no earlier run of the same kind gave a figure of it")
    if not last.sample.n:
        return _with(cell, failed=last.reason or f"none of {last.attempted} repetitions was measured")
    if last.value is None or not (before := [point for point in before if point.value is not None]):
        return _with(cell, skipped="divided by the own baseline, which it is itself, or which some run lacks")
    return _held(cell, line, before, last, gate)


def _held(cell: JudgedCell, line: Line, before: list[Point], last: Point, gate: Gate) -> JudgedCell:
    ratio, against = _against_level(line) or _against_previous(before[-1], last)
    if ratio is None:
        return _with(
            cell, skipped=f"too few figures: {fewest_for_interval()} of each run are needed, {against}"
        )
    sure = ratio.certainty_below(1 - gate.margin_pct / 100)
    told = f"{math.exp(ratio.value):.3f} of {against} ({_figures(line, before, last)}; certainty {sure:.4f})"
    if sure >= gate.certainty:
        return _with(cell, failed=f"slower by more than {gate.margin_pct:g} %: {told}", told=told)
    return _with(cell, told=told)


def _against_level(line: Line) -> tuple[LogRatio | None, str] | None:
    """Against the runs since the last change of level; None where these are too few."""
    logs = line.logs
    start = max((point.index for point in line.changes if point.index < logs.size - 1), default=0)
    level = logs[start:-1]
    if level.size < fewest_for_interval():
        return None
    error = float(np.std(level, ddof=1)) * math.sqrt(1 + 1 / level.size)
    ratio = LogRatio(float(logs[-1] - level.mean()), error, level.size - 1)
    return ratio, f"the level of {level.size} runs before it"


def _against_previous(previous: Point, last: Point) -> tuple[LogRatio | None, str]:
    samples = [last.sample, previous.sample]
    if last.baseline and previous.baseline:
        samples += [previous.baseline, last.baseline]
    counts = f"{last.name} has {last.sample.n}, {previous.name} {previous.sample.n}"
    ratio = ratio_of(samples)
    return (ratio, f"{previous.name}") if ratio else (None, counts)


def _figures(line: Line, before: list[Point], last: Point) -> str:
    shown = [f"{point.value:.4g}" for point in (before[-1], last)]
    return f"{' -> '.join(shown)} {line.basis}"


def _with(cell: JudgedCell, *, failed: str = "", skipped: str = "", told: str = "") -> JudgedCell:
    return JudgedCell(cell.name, cell.group, failed, skipped, told)
