"""What the guest does: its own temporary folders, the programs of this machine, and pytest over the chosen tests."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.kernel.at_once import RESULTS
from tests.kernel.guest import ROOT

TEMPORARY = "/var/tmp"
"""In the guest's memory, and not below /run, which every node of a lab has to itself."""
TEST_S = 900
"""A test's limit: emulation is ten to fifty times slower, on a busy machine more."""
RESULTS_FILE = "results"
"""In the share: what became of each test, as it is known."""


def script(tests: Sequence[str], share: Path) -> str:
    """Run pytest over the tests with CI's strictness; what becomes of each goes to `results` in the share."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": TEMPORARY,
        "TMPDIR": TEMPORARY,
        # where the VPNs' programs are on this machine
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "CI": "true",
        "VPNMESH_STOCK_KERNEL": "1",
        RESULTS: str(share / RESULTS_FILE),
    }
    pytest = (
        *(sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "tests.kernel.at_once"),
        *(
            "-o",
            "console_output_style=classic",
            "-o",
            f"timeout={TEST_S}",
            "--basetemp",
            f"{TEMPORARY}/tests",
        ),
        *tests,
    )
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
    return f"{exports}\nuname -sr\ncd {shlex.quote(str(ROOT))} && exec {shlex.join(pytest)}\n"
