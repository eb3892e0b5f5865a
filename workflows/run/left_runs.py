"""Runs on disk that may have left something on their nodes, and all that is needed to clean up after one."""

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nornir.core import Nornir

from inventory.kept import nornir_of_kept
from inventory.load import load
from tasks.firewall.registry import driver_of
from vpnmesh.errors import InputError, VpnmeshError
from vpnmesh.impairment.engine import Engine
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.impairment.nfqueue import NfqueueEngine
from vpnmesh.lab.lifecycle import find
from vpnmesh.model import Testbed
from vpnmesh.study.manifest import Manifest
from workflows.run.firewall import JOURNALS, FirewallRun
from workflows.run.impair import ENGINE_PATH
from workflows.run.lab import emulated, serves
from workflows.run.measured_hosts import MeasuredHosts
from workflows.run.requested import read_testbed
from workflows.run.store import RunFiles, Store
from workflows.run.teardown import NOTHING_KNOWN, Left


@dataclass(frozen=True, slots=True)
class LeftRun:
    """A run that may have left something; without a directory nothing is known of it but its firewall changes.

    Of another command than a matrix run its folder tells the inventory.
    """

    directory: Path | None = None
    manifest: Manifest | None = None
    left: Left = NOTHING_KNOWN
    inventory: str = ""

    def place(self) -> tuple[Nornir, Testbed]:
        """Its nodes, as the run had them; those of the inventory by its name where the run is too old to tell."""
        name = str((self.manifest and self.manifest.inventory) or self.inventory or "lab")
        if self.manifest is None or not self.manifest.hosts:
            return load(name)
        now = None
        with contextlib.suppress(VpnmeshError):
            now = load(name)[0]
        return nornir_of_kept(self.manifest.hosts, now), read_testbed(self.manifest)

    @property
    def lab_is_gone(self) -> bool:
        """Whether it ran on a lab that is up no more: with its nodes all has gone that was on them.

        A firewall that is an appliance is none of the lab's.
        """
        if self.manifest is not None and self.manifest.testbed:
            testbed = read_testbed(self.manifest)
        elif self.inventory:
            testbed = self.place()[1]
        else:
            return False
        lab = find()
        if not emulated(testbed) or (lab is not None and serves(lab, testbed)):
            return False
        return not any(driver_of(host).is_appliance for host in self.place()[0].inventory.hosts.values())

    def note_clean(self) -> None:
        """Keep in the manifest that its nodes were cleaned, where there is one."""
        if self.directory and self.manifest and self.manifest.sessions:
            noted = self.manifest.noted({"cleaned_at": datetime.now(UTC).isoformat()})
            Store(self.directory).write_manifest(noted)


def left_run(directory: Path) -> LeftRun:
    """What that run may have left: InputError where it is no run of this version."""
    manifest = RunFiles(directory).manifest()
    left = Left(FirewallRun.of(directory), _engine(manifest.engine), manifest.former_sysctls)
    return LeftRun(directory, manifest, left)


def left_study(directory: Path) -> LeftRun | None:
    """What another command may have left, by what its folder tells; None where that is no folder of one.

    InputError where it cannot be read.
    """
    hosts = MeasuredHosts.kept_in(directory)
    if hosts is None:
        return None
    mark = FirewallRun.of(directory, hosts.run)
    if not (directory / JOURNALS).is_dir():
        mark = FirewallRun(mark.run)
    return LeftRun(directory, left=Left(mark), inventory=hosts.inventory)


def runs_below(folder: Path) -> list[LeftRun]:
    """Every run of a folder that may have left something; a run that ended clean, or was cleaned up after, has not."""
    found = []
    for manifest in sorted(folder.glob("*/manifest.json")):
        with contextlib.suppress(InputError):
            found.append(left_run(manifest.parent))
    return [run for run in found if run.manifest and not run.manifest.left_nothing]


def _engine(name: str | None) -> Engine | None:
    known: dict[str, Engine] = {one.name: one for one in (NetemEngine(), NfqueueEngine(ENGINE_PATH))}
    return known.get(name or "")
