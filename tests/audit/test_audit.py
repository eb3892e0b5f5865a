"""Known holes: versions compared as Go compares them, and no program of ours with one that another version mends."""

import pytest

from tests.audit.__main__ import PROGRAMS, by_family, own_modules, to_raise
from tests.audit.advisories import Finding, affects, findings, modules, order
from tests.audit.database import NOT_AUDITED, Database, NoDatabaseError, newest
from tests.needs import missing

GO_MOD = """module x

go 1.26.4

tool github.com/a/b/cmd/b

require github.com/one v1.0.0
require (
\tgithub.com/a/b v1.2.3
\tgithub.com/c/d v2.0.0+incompatible // indirect
\tinet.af/old v0.0.0-20220101000000-0123456789ab // indirect
)

replace inet.af/old => github.com/new/old v0.1.0
"""


def test_modules_are_those_that_are_built() -> None:
    """Required ones, direct or not, and what replaces one instead of it."""
    assert modules(GO_MOD) == {
        "github.com/one": "v1.0.0",
        "github.com/a/b": "v1.2.3",
        "github.com/c/d": "v2.0.0+incompatible",
        "github.com/new/old": "v0.1.0",
    }


def test_versions_are_ordered_as_semver_has_it() -> None:
    """The example of semver.org, section 11, then Go's pseudo-versions, which are before the version that they name."""
    rising = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
    ]
    rising += ["1.0.0", "1.0.1-0.20260101000000-0123456789ab", "v1.0.1", "1.10.0", "v2.0.0+incompatible"]
    assert sorted(rising, key=order) == rising
    assert order("0") < order("0.0.0-2020")


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ("v0.9.0", (False, "")),
        ("v1.0.0", (True, "1.2.0")),
        ("v1.2.0", (False, "")),
        ("v1.5.0", (True, "1.5.3")),
        ("v1.5.3", (False, "")),
        ("v3.0.0", (True, "")),
    ],
)
def test_a_version_is_affected_from_introduced_to_fixed(version: str, wanted: tuple[bool, str]) -> None:
    """Several times over, and without end where nothing fixes it."""
    events = [{"introduced": "1.0.0"}, {"fixed": "1.2.0"}, {"introduced": "1.4.0"}, {"fixed": "1.5.3"}]
    assert affects(version, [*events, {"introduced": "2.0.0"}]) == wanted


def test_what_was_withdrawn_or_is_of_go_itself_says_nothing() -> None:
    """An advisory about the module in its version is found once, with its summary."""
    affected = [{"package": {"name": "github.com/a/b"}, "ranges": [{"events": [{"introduced": "0"}]}]}]
    advisory = {"id": "GO-1", "summary": "bad", "affected": affected * 2}
    library = {"id": "GO-2", "affected": [{"package": {"name": "stdlib"}, "ranges": affected[0]["ranges"]}]}
    found = findings(
        {"github.com/a/b": "v1.0.0", "stdlib": "v1.0.0"}, [advisory, {**advisory, "withdrawn": "x"}, library]
    )
    assert found == [Finding("GO-1", "github.com/a/b", "v1.0.0", "", "bad")]


def test_the_families_own_modules_are_known() -> None:
    """Every folder of programs/ has at least one, or its holes would be counted as others'."""
    families = [file.parent.name for file in PROGRAMS.glob("*/go.mod")]
    assert [family for family in families if not own_modules(family)] == []
    assert own_modules("tailscale") == {"tailscale.com"}
    assert own_modules("kubernetes") == {"k8s.io/kubernetes"}


def test_what_is_not_audited_is_said() -> None:
    """Python and Debian by name, each with the reason."""
    assert [what for what, why in NOT_AUDITED if not why] == []
    assert "safety-db, of 2021-07-17" in dict(NOT_AUDITED)["Python packages (uv.lock)"]


def test_a_database_tells_its_day() -> None:
    """Go's pseudo-version holds it."""
    assert Database(PROGRAMS, "v0.0.0-20261105234957-e22db6528018").day == "2026-11-05"


@pytest.mark.slow
def test_no_program_has_a_hole_that_another_version_mends() -> None:
    """The newest advisories that can be had; old versions that the study asks for are left out by name."""
    try:
        database = newest()
    except NoDatabaseError as error:
        missing("advisories", str(error))
    found = by_family(database)
    assert sum(map(len, found.values())) > 0, f"{database.version} says nothing at all: is it read?"
    assert to_raise(found) == []
