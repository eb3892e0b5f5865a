"""`workflows.criteria --verify` on the lab: what holds is met, and where it does not the same check says unmet."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.live.test_impair_command import footprint
from tests.live.vpn import need
from vpnmesh.criteria.catalogue import Value
from vpnmesh.criteria.observation import Observation, judge
from vpnmesh.criteria.verified import read_verification
from vpnmesh.errors import VpnmeshError
from vpnmesh.model import Node
from vpnmesh.solutions import SOLUTIONS, nebula
from vpnmesh.solutions.control import Access, SecondMesh
from vpnmesh.solutions.nebula_authority import Authority, authorities_of
from vpnmesh.solutions.protocol import Mesh, Refusal, Stage
from vpnmesh.study.scenarios import BUILT_IN
from workflows.run import verifying, verifying_access
from workflows.run.site import Site
from workflows.run.verifying import Verifier, verifier
from workflows.run.verifying_access import coarse, granular
from workflows.run.verifying_members import registration
from workflows.run.verifying_meshes import isolated
from workflows.run.verifying_outside import self_hosted
from workflows.run.verifying_paths import full_mesh, relay_tcp

pytestmark = pytest.mark.live
VPN = "headscale"
CAPTIVE_PORTAL = {"controlplane.tailscale.com", "login.tailscale.com"}
"""Whom a client asks whether it is in a hotel, once it had no connection for 2 s (docs/solutions/headscale.md)."""
Trust = tuple[Authority, tuple[Authority, ...]]
"""Who signed a node's certificate, and whom it trusts."""


@pytest.fixture(scope="module")
def checks(site: Site) -> Iterator[Verifier]:
    """The checks' way to the lab's nodes; nothing is left on any of them at the end."""
    need(site, f"{VPN}-direct")
    before = footprint(site)
    with verifier(site, BUILT_IN, VPN, print, listening=False) as found:
        found.hold_s = 8.0
        yield found
    assert site.take_complaints() == []
    assert footprint(site) == before


def value(check: Callable[[Verifier], list[Observation]], checks: Verifier) -> Value:
    """What it comes to."""
    return judge(observed(check, checks))[0]


def observed(check: Callable[[Verifier], list[Observation]], checks: Verifier) -> list[Observation]:
    """What it saw, shown where a test fails."""
    try:
        observations = check(checks)
    except VpnmeshError:
        # what stands may be half changed: the next test begins with a new one, as the next check does
        checks.down()
        raise
    print("\n".join(f"{one.part}: {one}" for one in observations))
    return observations


@pytest.mark.parametrize("check", [full_mesh, registration, coarse, granular])
def test_what_a_mesh_does_is_met(checks: Verifier, check: Callable[[Verifier], list[Observation]]) -> None:
    """Each with its control, on one deployment."""
    assert value(check, checks) is Value.MET


def test_nothing_leaves_the_testbed(checks: Verifier) -> None:
    """Both controls hold, and no packet leaves; on a machine so busy that a client waits it may ask for two names."""
    seen = observed(self_hosted, checks)
    missed = [one for one in seen if not one.holds]
    named = {line.rpartition(" ")[2] for one in missed for line in one.text.splitlines()}
    assert [one for one in missed if "looked up" not in one.what] == []
    assert named <= CAPTIVE_PORTAL


def test_a_member_that_is_let_in_with_that_key_is_unmet(
    checks: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key was taken back here: the valid one is tried in its place."""

    def nothing_refused(_self: object, _mesh: Mesh, _member: str) -> Refusal:
        return Refusal("auth-key", ())

    monkeypatch.setattr(type(SOLUTIONS[VPN]), "refusal", nothing_refused)
    assert value(registration, checks) is Value.UNMET


def test_rules_that_change_nothing_are_unmet(checks: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    own = type(SOLUTIONS[VPN]).access

    def unheard(solution: object, mesh: Mesh, _access: Access | None) -> tuple[Stage, ...]:
        return own(solution, mesh, None)  # type: ignore[arg-type]

    monkeypatch.setattr(type(SOLUTIONS[VPN]), "access", unheard)
    monkeypatch.setattr(verifying.wait_for, "__defaults__", (3.0,))
    monkeypatch.setattr(verifying_access, "HOLDS_WITHIN_S", 3.0)
    assert value(coarse, checks) is Value.UNMET


def test_what_leaves_is_counted_whoever_sends_it(checks: Verifier) -> None:
    """A stranger on a member pings the outside meanwhile."""
    checks.up(checks.direct)
    # it needs a route, which the check makes: it tries again until then, and for two minutes at most
    script = """
    touch /run/stranger; i=0
    while [ -e /run/stranger ] && [ $i -lt 240 ]; do ping -c 1 -W 1 203.0.113.50; sleep 0.5; i=$((i+1)); done
    """
    checks.run(checks.client, "sh", "-c", f"({script}) > /dev/null 2>&1 &")
    try:
        assert value(self_hosted, checks) is Value.UNMET
    finally:
        checks.run(checks.client, "rm", "/run/stranger")


def test_a_relayed_mesh_is_no_full_mesh(checks: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay node is not idle then, and both ends name it."""
    monkeypatch.setattr(Verifier, "direct", BUILT_IN.named(f"{VPN}-relay"))
    observations = full_mesh(checks)
    assert judge(observations)[0] is Value.UNMET
    assert [one.holds for one in observations] == [False, False, True, True]


def test_a_relay_over_tcp_is_met(checks: Verifier) -> None:
    """On the same deployment, and with TCP 443 alone."""
    observations = relay_tcp(checks)
    assert judge(observations)[0] is Value.MET
    assert "join, and 100% of what passes relay is TCP to or from port 443" in observations[-1].seen


def test_two_meshes_at_one_lighthouse(site: Site, checks: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nebula's authorities part members by themselves; where all trust the same one, the same check says unmet."""
    need(site, "nebula-direct")
    checks.down()
    with verifier(site, BUILT_IN, "nebula", print, listening=False) as found:
        assert value(isolated, found) is Value.MET

        def of_one(mesh: Mesh, node: Node, _second: SecondMesh | None) -> Trust:
            return authorities_of(mesh, node, None)

        monkeypatch.setattr(nebula, "authorities_of", of_one)
        monkeypatch.setattr(verifying.wait_for, "__defaults__", (10.0,))
        assert value(isolated, found) is Value.UNMET


def test_the_command_keeps_evidence(lab: object, checks: Verifier, tmp_path: Path) -> None:
    """Table and YAML on stdout, files and pages below the folder; what cannot be shown here is unknown."""
    checks.down()
    out = tmp_path / "found"
    only = "full-mesh,architectures"
    argv = (sys.executable, "-m", "workflows.criteria", "--verify", VPN, "--only", only, "--out", str(out))
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    found = read_verification((out / VPN / "verification.json").read_bytes(), "here")
    assert [one.value for one in found.findings] == [Value.MET, Value.UNKNOWN]
    assert "all members are of one kind here" in found.findings[1].reason
    assert found.versions["headscale"]
    evidence = [out / VPN / one.file for one in found.findings[0].observations]
    assert all("packets" in path.read_text() or "direct" in path.read_text() for path in evidence)
    assert "verified: met" in done.stdout
    assert (out / VPN / "report.html").exists()
    assert (out / "report.html").exists()
