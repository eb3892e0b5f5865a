"""Known holes in what the programs are built from: `python -m tests.audit [--all]`, as `make audit` calls it.

Exit code 1 where a program itself has one that another version mends; holes in the modules that a vendor built its
release with are counted, and listed with --all, since what is measured is what vendors release.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.audit.advisories import Finding, findings, modules
from tests.audit.database import NOT_AUDITED, Database, NoDatabaseError, newest

PROGRAMS = Path(__file__).resolve().parents[2] / "programs"
OLD_ON_PURPOSE = {
    "headscale-2023": "the paper's own version",
    "tailscale-2024": "the oldest that still builds",
}
"""Families whose versions are old because the study asks for them; they run in the lab alone."""
_TOOLS = re.compile(r"^(?:tool\s+|\t)([^\s()]+)$", re.MULTILINE)


def main(argv: Sequence[str]) -> int:
    """Print the tables; 1 where a version of ours should be raised."""
    for what, why in NOT_AUDITED:
        print(f"skipped: {what}: {why}")
    try:
        database = newest()
    except NoDatabaseError as error:
        print(f"skipped: Go modules (programs/): {error}")
        return 0
    print(f"Go modules against {database.version}, of {database.day}")
    found = by_family(database)
    for family, each in found.items():
        print(*_lines(family, each, whole="--all" in argv), sep="\n")
    return 1 if to_raise(found) else 0


def by_family(database: Database) -> dict[str, list[Finding]]:
    """What the database says of each folder of programs/."""
    advisories = list(database.advisories())
    return {
        file.parent.name: findings(modules(file.read_text(encoding="utf-8")), advisories)
        for file in sorted(PROGRAMS.glob("*/go.mod"))
    }


def to_raise(found: dict[str, list[Finding]]) -> list[Finding]:
    """The holes in the programs themselves that a newer version mends: those that we can do something about."""
    return [
        one
        for family, each in found.items()
        if family not in OLD_ON_PURPOSE
        for one in each
        if one.fixed and one.module in own_modules(family)
    ]


def own_modules(family: str) -> frozenset[str]:
    """The modules whose commands the folder builds: its `tool` lines, and Kubernetes, which it links itself."""
    text = (PROGRAMS / family / "go.mod").read_text(encoding="utf-8")
    tools = _TOOLS.findall(text)
    own = {name for name in modules(text) if any(f"{tool}/".startswith(f"{name}/") for tool in tools)}
    return frozenset(own | ({"k8s.io/kubernetes"} & modules(text).keys()))


def _lines(family: str, each: Sequence[Finding], *, whole: bool) -> Iterator[str]:
    own = own_modules(family)
    mended = sum(bool(one.fixed) for one in each)
    old = f"; {OLD_ON_PURPOSE[family]}" if family in OLD_ON_PURPOSE else ""
    counts = Counter(one.module for one in each if one.module not in own)
    yield f"{family}: {len(each)} advisories in {len({one.module for one in each})} modules, {mended} mended since{old}"
    for one in each:
        if whole or one.module in own:
            way = f"mended in {one.fixed}" if one.fixed else "no version mends it"
            yield f"    {one.id} {one.module} {one.version}: {one.summary[:100]} ({way})"
    if counts and not whole:
        yield "    by modules of others: " + ", ".join(f"{name} {n}" for name, n in counts.most_common(6))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
