"""What the guest does: its own temporary folders, the programs of this machine, and pytest over the chosen tests."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.kernel.guest import ROOT

TEMPORARY = "/var/tmp"
"""In the guest's memory, and not below /run, which every node of a lab has to itself."""
TEST_S = 1800
"""A test's limit: emulation is ten to fifty times slower, on a busy machine more."""


def script(tests: Sequence[str], share: Path) -> str:
    """Run pytest over the tests with CI's strictness; its results go to `junit.xml` in the share."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": TEMPORARY,
        "TMPDIR": TEMPORARY,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "CI": "true",
        "VPNMESH_STOCK_KERNEL": "1",
    }
    pytest = (
        *(
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "tests.kernel.at_once",
            "-o",
            "console_output_style=classic",
            "-v",
        ),
        *(
            "-o",
            f"timeout={TEST_S}",
            "--basetemp",
            f"{TEMPORARY}/tests",
            "--junitxml",
            str(share / "junit.xml"),
            *tests,
        ),
    )
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
    return f"{exports}\nuname -sr\ncd {shlex.quote(str(ROOT))} && exec {shlex.join(pytest)}\n"
