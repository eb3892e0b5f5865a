"""`python -m tests.kernel`: run the chosen tests on the stock kernel, print what netem did and how all ended."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.kernel.chosen import CHOSEN, SLOW, node_ids
from tests.kernel.disk import folders, left_out, make_disk
from tests.kernel.guest import BOOT_S, ROOT, GuestError, booted
from tests.kernel.inside import RESULTS_FILE, script
from tests.kernel.told import Told, read_told, summary

LIMIT_S = 3600.0
"""A bound for the busiest machine, after which the guest is ended and what it told so far is shown."""
GUESTS = 3
"""How often a guest is booted at most: after one that went down the next one runs the tests that had not begun."""
WITH_SLOW = "--slow"


def main(words: list[str]) -> int:
    """Run the tests named, or all that are chosen; the exit code is 0 where each of them passed."""
    named = [word for word in words if word != WITH_SLOW]
    groups = [*CHOSEN, *SLOW] if WITH_SLOW in words else CHOSEN
    asked = collected(named or [identity for group in groups for identity in node_ids(group)])
    if not asked:
        return 2
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory(prefix="vpnmesh-kernel-") as folder:
        told = run_all(asked, Path(folder), say, until=began + LIMIT_S)
    print("\n".join(summary(told, asked, seconds=time.monotonic() - began)))
    if not named and WITH_SLOW not in words:
        print("\n".join(not_chosen()))
    return int(told.count("passed") < len(asked))


def collected(asked: list[str]) -> list[str]:
    """Every test's full name, as this machine finds them: a wrong name is told before a boot, and all is compiled."""
    found = subprocess.run(
        (sys.executable, "-m", "pytest", "--collect-only", "-q", *asked), cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if found.returncode:
        print(found.stdout, found.stderr)
        return []
    return [line for line in found.stdout.splitlines() if "::" in line]


def run_all(asked: list[str], folder: Path, say: Callable[[str], None], until: float) -> Told:
    """Run the tests in a guest, and those that had not begun when it went down in another one."""
    share, disk, rest = folder / "share", folder / "disk", asked
    share.mkdir()
    make_disk(disk, folders(), left_out())
    say("made the guest's disk")
    for _ in range(GUESTS):
        try:
            run_in_guest(rest, share, disk, say, limit_s=until - time.monotonic())
        except GuestError as error:
            say(str(error))
        begun = {test.test for test in read_told(share / RESULTS_FILE).tests}
        rest = [test for test in asked if test not in begun]
        if not rest or until - time.monotonic() < BOOT_S:
            break
        say(f"{len(rest)} tests had not begun")
    return read_told(share / RESULTS_FILE)


def run_in_guest(
    tests: list[str], share: Path, disk: Path, say: Callable[[str], None], limit_s: float
) -> None:
    """Boot, and say all that is said; GuestError where the guest did not come to the end of its script."""
    with booted(script(tests, share), share=share, disk=disk, limit_s=limit_s) as guest:
        for line in guest.lines():
            say(line)
        guest.exit_code()


def not_chosen() -> list[str]:
    """What was not run, and why."""
    lines = (f"  {group.shows}: {', '.join(node_ids(group))}" for group in SLOW)
    return [f"not run, for time (python -m tests.kernel {WITH_SLOW} runs it, too):", *lines]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
