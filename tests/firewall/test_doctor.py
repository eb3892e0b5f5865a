"""workflows.doctor --firewall: what it says of a box that has all, less, or the wrong thing."""

import copy
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.firewall.appliance import KEY, Bench, inventory, schema
from vpnmesh.firewall.pfsense_requirements import api_gaps, privileges, required_calls
from vpnmesh.firewall.pfsense_rest import FROM_SOURCE, PUBLISHED
from workflows.doctor import main


def test_the_schema_has_all_that_the_driver_needs_and_says_where_it_is_from() -> None:
    """Nothing is lacking; what pfsense_rest marks as known by the source alone is what the schema marks so."""
    document = schema().document
    assert api_gaps(document) == ()
    facts = {path: item["x-facts"] for path, item in document["paths"].items()}
    assert facts == dict.fromkeys(PUBLISHED, "published") | dict.fromkeys(FROM_SOURCE, "source")
    assert {need.path for need in required_calls()} == set(FROM_SOURCE) | set(PUBLISHED)


def test_a_box_with_the_published_paths_alone_lacks_nothing_fatal() -> None:
    """What is known by the source alone may be missing: each lack is said, and none ends the work."""
    document = copy.deepcopy(schema().document)
    for path in FROM_SOURCE:
        del document["paths"][path]
    found = api_gaps(document)
    assert [lack.text for lack in found if lack.fatal] == []
    assert {lack.text.split()[2].rstrip(":") for lack in found} == set(FROM_SOURCE)


def test_a_schema_without_what_we_need_is_named() -> None:
    """A call that is gone, or a key that was renamed, is a sentence, and fatal."""
    document = copy.deepcopy(schema().document)
    del document["paths"]["/api/v2/firewall/apply"]["post"]
    del document["components"]["schemas"]["FirewallRule"]["properties"]["floating"]
    fatal = [lack.text for lack in api_gaps(document) if lack.fatal]
    assert fatal == [
        "POST /api/v2/firewall/rule knows no 'floating'",
        "no POST /api/v2/firewall/apply",
    ]


def test_privileges_are_pfsenses_own_names() -> None:
    """As the package derives them from path and method, none twice."""
    assert "api-v2-firewall-rule-post" in privileges()
    assert "api-v2-diagnostics-command-prompt-post" in privileges()
    assert len(privileges()) == len(set(privileges()))


def test_docs_list_the_least_privileges() -> None:
    """Whoever makes the API's user finds exactly these names in the documentation."""
    text = (Path(__file__).parents[2] / "docs" / "firewall.md").read_text(encoding="utf-8")
    assert set(privileges()) == set(re.findall(r"api-v2-[a-z0-9-]+", text))


def test_least_privileges_suffice_for_a_change(pf: Bench) -> None:
    """With exactly these privileges and no page-all a policy is set and taken back."""
    pf.appliance.keys[KEY] = set(privileges())
    pf.change("nat-symmetric")
    pf.change("allow-all")
    assert {call.status for call in pf.appliance.calls} == {200}


@pytest.mark.parametrize("hidden", [set(), {"/api/v2/firewall/schedules"}])
def test_doctor_on_a_healthy_box(pf: Bench, tmp_path: Path, hidden: set[str]) -> None:
    """Exit code 0, the version, and what this API does without."""
    pf.appliance.hidden = hidden
    done = CliRunner().invoke(main, ["--firewall", "--inventory", inventory(pf, tmp_path)])
    assert done.exit_code == 0, done.output
    assert "pfSense: 2.8.1-RELEASE\nREST API package: v2.9.0\n" in done.output
    without = "without: no GET /api/v2/firewall/schedules: rules cannot end by themselves"
    assert (without in done.output, "without:" in done.output) == (bool(hidden), bool(hidden))
    assert {call.method for call in pf.appliance.calls} == {"GET"}
    assert "package version" not in done.output


@pytest.mark.parametrize(
    ("version", "code", "said"),
    [
        ("v3.0.0", 1, "WRONG: wrong package version: 3.0.0 is there, this driver follows 2.9.0"),
        ("v2.3.1", 0, "note: another package version: 2.3.1 is there, this driver follows 2.9.0"),
        ("unknown", 0, "note: the package's version is unknown"),
    ],
)
def test_doctor_compares_the_packages_version(
    pf: Bench, tmp_path: Path, version: str, code: int, said: str
) -> None:
    """Another major version is an error, another minor one is said."""
    pf.appliance.package_version = version
    done = CliRunner().invoke(main, ["--firewall", "--inventory", inventory(pf, tmp_path)])
    assert (code, True) == (done.exit_code, said in done.output), done.output


@pytest.mark.parametrize(
    ("package", "key", "said"),
    [
        (False, KEY, "install the package pfSense-pkg-RESTAPI"),
        (True, "wrong", "the key is not accepted; not tried again"),
    ],
)
def test_doctor_on_an_ill_box(pf: Bench, tmp_path: Path, key: str, said: str, *, package: bool) -> None:
    """Exit code 1 and one clear sentence; a refused key is tried once."""
    folder = inventory(pf, tmp_path)
    (tmp_path / "key").write_text(key)
    pf.appliance.package = package
    done = CliRunner().invoke(main, ["--firewall", "--inventory", folder])
    assert done.exit_code == 1
    assert said in done.output
    assert len(pf.appliance.calls) == 1
