"""A controller whose clock is stepped: its own process has another time by libfaketime, the machine's stays."""

import os
import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults.table import CLOCK_STEP
from tests.needs import needs
from workflows.run.store import RunFiles

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
STEPS_H = (0, 3, -3, 48)
SESSION = """
import sys
from pathlib import Path
from datetime import datetime, UTC
from vpnmesh.study.journal import VisitStarted
from workflows.run.store import Store

store = Store.create(Path(sys.argv[1]))
for hours in sys.argv[3:]:
    Path(sys.argv[2]).write_text(f"{int(hours) * 3600:+d}")
    seen = datetime.now(UTC)
    store.note(VisitStarted(scenario=seen.isoformat()))
    while datetime.now(UTC) == seen: pass
"""


@pytest.mark.slow
def test_a_clock_that_is_stepped_moves_no_time_stamp(tmp_path: Path) -> None:
    """What the session wrote down goes on in order, though the clock that it was asked went by days."""
    needs(FAKETIME is not None, "libfaketime (Debian package faketime)")
    run, offset = tmp_path / "run", tmp_path / "offset"
    offset.write_text("+0")
    environment = {
        **os.environ,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    argv = (sys.executable, "-c", SESSION, str(run), str(offset), *map(str, STEPS_H))
    subprocess.run(argv, env=environment, check=True, timeout=120)
    events = RunFiles(run).events()
    asked = [datetime.fromisoformat(str(getattr(one, "scenario"))) for one in events]  # noqa: B009
    assert round((max(asked) - min(asked)).total_seconds() / 3600) == max(STEPS_H) - min(STEPS_H)
    written = [datetime.fromisoformat(str(one.at)) for one in events]
    assert CLOCK_STEP.reason == ""
    assert all(0 < (later - earlier).total_seconds() < 60 for earlier, later in pairwise(written))
