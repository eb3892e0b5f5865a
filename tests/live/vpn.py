"""What the live tests of single solutions share."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath

import tasks
from tests.needs import missing
from vpnmesh.errors import UnavailableError
from vpnmesh.measurements.convergence import STEADY_DEADLINE_S
from vpnmesh.model import Path, Scenario
from vpnmesh.plan import Secret
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.convergence import DEFAULT_LIMITS, Stability, StabilityLimits, judge_ends
from vpnmesh.study.scenarios import scenario_named
from workflows.run.hosts import run_on
from workflows.run.provision import Provisioned
from workflows.run.requirements import lacking_for, lacking_words, require
from workflows.run.scenario_control import SiteControl
from workflows.run.site import Site

LONG_WORD = re.compile(r"(?<![\w./])[\w+=-][\w+/=-]{23,}")


def need(site: Site, scenario: str | Scenario) -> None:
    """Skip with the reason where the scenario's programs are missing; in CI only those that no registry serves."""
    wanted = scenario_named(scenario) if isinstance(scenario, str) else scenario
    installer = site.installer
    if installer and (lacking := list(lacking_for(site, installer))):
        missing(installer.name.partition("-")[0], lacking_words(lacking))
    try:
        require(site, wanted)
    except UnavailableError as error:
        missing(wanted.solution, str(error))


def prove_stability(
    site: Site, deployed: Provisioned, wanted: Path, limits: StabilityLimits = DEFAULT_LIMITS
) -> Stability:
    """Judge what is up by probes from both ends of the measured pair."""
    control = SiteControl(site, deployed, site.testbed.pairs[0])
    return judge_ends(control.probe_path(limits.enough, STEADY_DEADLINE_S), wanted, limits)


def said(site: Site, node: str, script: str, *arguments: str) -> str:
    """What a shell script prints on a node."""
    argv = ("sh", "-c", script, "sh", *arguments)
    return str(run_on(site.nr, [node], tasks.run_command, argv=argv)[node].result)


def secrets_of(mesh: Mesh) -> list[str]:
    """Every secret that nodes told each other in this mesh."""
    return [value.reveal() for value in mesh.published.values() if isinstance(value, Secret)]


def files_with(site: Site, secrets: list[str]) -> dict[str, str]:
    """Where on the nodes the secrets lie, with the files' modes; nodes without any are left out."""
    script = (
        'for s in "$@"; do grep -rlF -e "$s" /var/lib/vpnmesh /run/vpnmesh /etc /root /tmp 2> /dev/null; done'
        " | sort -u | while read -r f; do stat -c '%a %n' \"$f\"; done; true"
    )
    found = {node: said(site, node, script, *secrets) for node in site.all_nodes}
    return {node: text for node, text in found.items() if text}


def secrets_on(site: Site) -> list[str]:
    """What the nodes keep secret on their own: the long words in files of ours that hold keys, tokens or passwords."""
    script = (
        "find /var/lib/vpnmesh -type f | grep -E"
        " '/(.*[.]key|.*secret|.*token|header|state|console|authkey|.*-key.json|config[.]json|management[.]json)$'"
        # without the public half of ZeroTier's identities, and what all of OpenSSH's keys begin with
        ' | while read -r f; do sed -E "s/^[0-9a-f]{10}:0:[0-9a-f]+://; /^b3BlbnNzaC1rZXk/d" "$f"; echo; done; true'
    )
    words = {word for node in site.all_nodes for word in LONG_WORD.findall(said(site, node, script))}
    # one key in two hundred has no two digits, but base64 ends like this
    digits = {word: sum(letter.isdigit() for letter in word) for word in words}
    return sorted(
        word for word in words if (digits[word] > 1 or word.endswith("=")) and "vpnmesh" not in word
    )


def with_any(directory: FilePath, secrets: list[str]) -> list[str]:
    """The files below a directory that hold any of these secrets."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    texts = {path: path.read_bytes() for path in files}
    return [str(path) for path, text in texts.items() if any(secret.encode() in text for secret in secrets)]


@contextmanager
def cut_off(site: Site, node: str) -> Iterator[None]:
    """Have the node send nothing into its VLAN."""
    leg = site.testbed.node(node).leg.interface
    rules = (
        "add table inet cutoff; add chain inet cutoff out { type filter hook output priority 0; };"
        f' add rule inet cutoff out oifname "{leg}" drop'
    )
    said(site, node, 'nft "$1"', rules)
    try:
        yield
    finally:
        said(site, node, "nft delete table inet cutoff")
