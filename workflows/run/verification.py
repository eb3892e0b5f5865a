"""Making the live checks of one solution, one after the other, and keeping what came of each at once."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tasks
from vpnmesh.criteria.catalogue import Value
from vpnmesh.criteria.observation import Check, Finding, Observation, judge
from vpnmesh.criteria.verified import FILE, SCHEMA_VERSION, Verification, read_verification
from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.errors import InputError, VpnmeshError
from vpnmesh.lab.atomic import make_private, write_atomic
from vpnmesh.masks import masked
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import MeshRole, checksum
from vpnmesh.study.programs import told_version
from vpnmesh.study.scenarios import Catalogue
from workflows.run import clock
from workflows.run.hosts import run_on
from workflows.run.interrupts import InterruptedRunError, to_its_end
from workflows.run.lab import emulated
from workflows.run.lease import keep_lease
from workflows.run.settings import settings_now
from workflows.run.site import Site
from workflows.run.undoing import promise_settings
from workflows.run.verifying import Verifier, verifier
from workflows.run.verifying_access import coarse, granular
from workflows.run.verifying_members import control_plane_down, lifecycle, registration
from workflows.run.verifying_meshes import isolated
from workflows.run.verifying_outside import architectures, self_hosted, subnet_router
from workflows.run.verifying_paths import encryption, full_mesh, nat_traversal, relay_tcp, relay_udp

WAYS: dict[str, Callable[[Verifier], list[Observation]]] = {
    "full-mesh": full_mesh,
    "unattended-registration": registration,
    "acl": coarse,
    "granular-acl": granular,
    "isolated-meshes": isolated,
    "node-lifecycle": lifecycle,
    "control-plane-down": control_plane_down,
    "self-hosted": self_hosted,
    "subnet-routers": subnet_router,
    "architectures": architectures,
    "relay-udp": relay_udp,
    "relay-tcp": relay_tcp,
    "nat-traversal": nat_traversal,
    "end-to-end-encryption": encryption,
}
"""How each check is made."""
ENCRYPTION = "end-to-end-encryption"


@dataclass(frozen=True, slots=True)
class EvidenceFolder:
    """Where the evidence of one solution's checks is kept."""

    folder: Path
    site: Site

    def keep(self, finding: Finding) -> Finding:
        """Write what the nodes said, a file per observation; returns the finding with their names, secrets masked."""
        found = [self._kept(finding.check, number, one) for number, one in enumerate(finding.observations, 1)]
        return replace(finding, reason=self._plain(finding.reason), observations=tuple(found))

    def earlier(self, begun: Verification) -> Verification:
        """What was found before of the same programs on the same testbed and day: one table with what comes now."""
        path = self.folder / FILE
        try:
            found = read_verification(path.read_bytes(), str(path))
        except FileNotFoundError:
            return begun
        except OSError as error:
            raise unreadable(path, error) from error
        return found if begun.goes_on_with(found) else begun

    def write(self, name: str, content: bytes) -> Path:
        """Write a file below the folder, for its owner alone; InputError where it cannot be written."""
        path = self.folder / name
        try:
            make_private(path.parent)
            write_atomic(path, content)
        except OSError as error:
            raise InputError("--out", f"{path} cannot be written: {error.strerror}") from error
        return path

    def _kept(self, check: str, number: int, one: Observation) -> Observation:
        plain = replace(one, seen=self._plain(one.seen), text=self._plain(one.text))
        name = f"{check}/{number:02}-{one.part}.txt"
        head = f"{plain.what}\nwanted: {plain.wanted}\nseen: {plain.seen}\n"
        self.write(name, f"{head}\n{plain.text}\n".encode())
        return replace(plain, file=name)

    def _plain(self, text: str) -> str:
        return masked(text, self.site.secrets)


def verify(
    site: Site,
    catalogue: Catalogue,
    solution: str,
    checks: Sequence[Check],
    say: Callable[[str], None],
    evidence: EvidenceFolder,
    *,
    hold_s: float,
) -> Verification:
    """Make these checks; one that fails to be made is unknown, with the reason, and the others go on."""
    found = Verification(
        SCHEMA_VERSION,
        solution,
        versions_of(site, solution),
        clock.now().date(),
        site.testbed.name,
        "lab" if emulated(site.testbed) else "real machines",
        (),
    )
    found = evidence.earlier(found)
    listening = any(check.id == ENCRYPTION for check in checks)
    with _settings_kept(site), verifier(site, catalogue, solution, say, listening=listening) as ways:
        ways.hold_s = hold_s
        for check in checks:
            keep_lease(site)
            finding = evidence.keep(_made(ways, check))
            say(f"{check.id:24} {finding.value:8} {finding.seconds:6.1f} s  {finding.reason}")
            found = found.with_finding(finding)
            evidence.write(FILE, found.to_json())
    return found


def _made(ways: Verifier, check: Check) -> Finding:
    started = time.monotonic()
    ways.stood.clear()
    try:
        observations = WAYS[check.id](ways)
        value, reason = judge(observations)
    except InterruptedRunError:
        raise
    except VpnmeshError as error:
        # what stands may be half changed: the next check begins with a new one
        ways.down()
        observations, value, reason = [], Value.UNKNOWN, str(error)
    seconds = round(time.monotonic() - started, 1)
    return Finding(check.id, value, reason, seconds, tuple(observations), tuple(ways.stood))


def versions_of(site: Site, solution: str) -> dict[str, str]:
    """What the solution's programs say of themselves, where they are needed; one that is missing is left out."""
    bed = site.testbed
    where = {
        MeshRole.MEMBER: bed.client.name,
        MeshRole.CONTROL: bed.control_plane.name,
        MeshRole.RELAY: bed.relay.name,
    }
    found: dict[str, str] = {}
    for one in solution_named(solution).binaries:
        if one.version and one.version != checksum(one.name) and one.name not in found:
            told = str(
                run_on(site.nr, [where[one.at]], tasks.read_version, argv=one.version)[where[one.at]].result
            )
            if not told.startswith("not known"):
                found[one.name] = told_version(told)
    return found


@contextlib.contextmanager
def _settings_kept(site: Site) -> Iterator[None]:
    """The nodes' own kernel settings again at the end: pods have them forward."""
    own = settings_now(site)
    promise_settings(site, own)
    try:
        yield
    finally:
        to_its_end(lambda: run_on(site.nr, list(own), tasks.put_sysctls_back, former=own))
