"""Which cells can be compared at all, and what would have to be measured where they cannot.

A cell can be compared when it has enough figures for a test against the cell with the most figures of its condition,
corrected over all pairs (`can_reject`), and when TCP was past slow start. Published means (Table A2) rest on the
paper's own repetitions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from vpnmesh.report.formatting import span
from vpnmesh.report.identity import cluster_option
from vpnmesh.report.judgement.evidence import Readings
from vpnmesh.report.verdicts import seconds_by_cell
from vpnmesh.stats.compare import can_reject, fewest_for_test
from vpnmesh.stats.slow_start import MOSTLY
from vpnmesh.study.profile import DEFAULT_PLACEMENT

Key = tuple[str, str, str]
"""Test, condition, scenario."""


@dataclass(frozen=True, slots=True)
class NotComparable:
    """Why a cell cannot be compared: figures it has and needs; seconds that would outlast slow start (None = do)."""

    key: Key
    measured: int
    wanted: int
    duration_s: int | None


class Cells:
    """The cells of a study, each comparable or lacking something."""

    def __init__(self, readings: Readings) -> None:
        self.readings = readings

    @cached_property
    def _rows(self) -> Mapping[Key, Mapping[str, object]]:
        rows = self.readings.study.tables["throughput"].to_dicts()
        return {(row["test"], row["condition"], row["scenario"]): row for row in rows}

    def lack(self, key: Key) -> NotComparable | None:
        """What the cell lacks; None where it can be compared, or holds no figure at all."""
        reading = self.readings.cell(*key)
        if reading is None or reading.published:
            return None
        measured, row = self._measured(key), self._rows[key]
        names = self.readings.scenarios(*key[:2])
        pairs = math.comb(len(names), 2)
        most = max((self._measured((*key[:2], name)) for name in names if name != key[2]), default=measured)
        wanted = fewest_for_test(pairs)
        # a cell with enough figures of its own lacks nothing, however few the others have
        few = measured < wanted and not can_reject(measured, most, pairs)
        slow = self._outlasting(row) if row.get("slow_start") else None
        return NotComparable(key, measured, wanted, slow) if few or slow else None

    def _measured(self, key: Key) -> int:
        """How many figures a test of the cell would have: one per pair where there are several."""
        reading = self.readings.cell(*key)
        pairs = self._rows[key].get("pairs") if key in self._rows else None
        return int(str(pairs)) if pairs else (reading.measured or 0) if reading else 0

    def _outlasting(self, row: Mapping[str, object]) -> int:
        """The fewest whole seconds of measuring of which slow start takes less than half."""
        needed, profile = row.get("slow_start_s"), self._profile
        left = float(str(needed)) - float(str(profile.get("omit_s", 0)))
        return math.floor(left / MOSTLY) + 1

    @property
    def _profile(self) -> Mapping[str, object]:
        found = self.readings.study.provenance.get("profile")
        return found if isinstance(found, Mapping) else {}

    def to_measure(self, lacks: Sequence[NotComparable]) -> str:
        """What has to be measured before these cells can be compared; for runs as a command, and how long it takes."""
        few = [lack for lack in lacks if lack.measured < lack.wanted]
        slow = [lack.duration_s for lack in lacks if lack.duration_s]
        wanted, why = max(lack.wanted for lack in lacks), []
        if few:
            have = span(lack.measured for lack in few)
            why.append(
                f"a test needs at least {wanted} repetitions of each cell (there are {have}): with fewer no"
                " difference, however large, can be shown at 0.05 after Holm's correction"
            )
        if slow:
            where = ", ".join(dict.fromkeys(lack.key[1] for lack in lacks if lack.duration_s))
            why.append(f"TCP under {where} was slow start, not the VPN: measure {max(slow)} s or more")
        tail = self._command(lacks, wanted, max(slow, default=None))
        return f"No ranking and no recommendation: {'; '.join(why)}.{tail}"

    def _command(self, lacks: Sequence[NotComparable], repetitions: int, duration_s: int | None) -> str:
        """How to measure the cells anew, and for how long; "" where the study is no run of ours."""
        asked = float(str(self._profile.get("duration_s") or 0))
        if not asked:
            return ""
        longer = max((duration_s or 0) - asked, 0.0)
        tests, conditions = (dict.fromkeys(lack.key[place] for lack in lacks) for place in (0, 1))
        cells = [key for key in self._rows if key[0] in tests and key[1] in conditions]
        once = {key: self._elapsed_s[key] for key in cells if key in self._elapsed_s}
        seconds = repetitions * sum(elapsed + longer for elapsed in once.values())
        places = self.readings.study.samples["placement"].drop_nulls().unique().to_list()
        where = f" --placement {places[0]}" if places and places[0] != str(DEFAULT_PLACEMENT) else ""
        took = f", about {math.ceil(seconds / 60)} minutes" if once else ""
        return (
            f" To measure{took}: python -m workflows.full_matrix --repetitions {repetitions} --blocks 2"
            f" --duration {max(asked, duration_s or 0):g} --conditions {','.join(conditions)}"
            f"{where}{self._pairs}{cluster_option(self.readings.study.provenance)} --tests {','.join(tests)}"
            f" --scenarios {','.join(dict.fromkeys(key[2] for key in cells))}"
        )

    @property
    def _pairs(self) -> str:
        """Which pairs, where that was not the one of the paper."""
        asked = self._profile.get("pairs")
        kind, count = (asked.get("kind"), asked.get("count")) if isinstance(asked, Mapping) else (None, 0)
        if kind in (None, "fixed"):
            return ""
        return f" --pairs {kind}:{count}" if count else f" --pairs {kind}"

    @cached_property
    def _elapsed_s(self) -> Mapping[Key, float]:
        """How long a repetition of each cell took with its checks, where that was recorded."""
        found = seconds_by_cell(self.readings.study.samples)
        return {
            (test, condition, scenario): seconds for (scenario, condition, test), seconds in found.items()
        }
