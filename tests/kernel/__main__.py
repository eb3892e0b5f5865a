"""`python -m tests.kernel`: run the chosen tests on the stock kernel, print what netem did and how all ended."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.kernel.chosen import CHOSEN, SLOW, node_ids
from tests.kernel.guest import ROOT, Size, booted
from tests.kernel.inside import script
from tests.kernel.told import read_told, summary

LIMIT_S = 3600.0
"""A bound for the busiest machine; an idle one with two cores needs 8 to 10 minutes."""
WITH_SLOW = "--slow"


def main(words: list[str]) -> int:
    """Run the tests named, or all that are chosen; the exit code is pytest's, or 1 where one was skipped or missing."""
    tests = [word for word in words if word != WITH_SLOW]
    groups = [*CHOSEN, *SLOW] if WITH_SLOW in words else CHOSEN
    asked = tests or [identity for group in groups for identity in node_ids(group)]
    if code := collected_here(asked):
        return code
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vpnmesh-kernel-") as share:
        with booted(script(asked, Path(share)), share=Path(share), size=Size(), limit_s=LIMIT_S) as guest:
            for line in guest.lines():
                print(f"{time.monotonic() - began:5.0f} s  {line}", flush=True)
            code = guest.exit_code()
        told = read_told(Path(share) / "junit.xml")
    print("\n".join(summary(told, seconds=time.monotonic() - began)))
    if not tests and WITH_SLOW not in words:
        print("\n".join(left_out()))
    return code or int(told.passed == 0 or told.skipped > 0)


def collected_here(asked: list[str]) -> int:
    """Have this machine find them first: a wrong name is told before a boot, and the guest reads what was compiled."""
    found = subprocess.run(
        (sys.executable, "-m", "pytest", "--collect-only", "-q", *asked), cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if found.returncode:
        print(found.stdout, found.stderr)
    return found.returncode


def left_out() -> list[str]:
    """What was not run, and why."""
    lines = (f"  {group.shows}: {', '.join(node_ids(group))}" for group in SLOW)
    return [f"not run, for time (python -m tests.kernel {WITH_SLOW} runs it, too):", *lines]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
