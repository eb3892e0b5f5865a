"""Bring a lab up, find it again, take it down: the API of `vpnmesh.lab`.

with up(testbed, owned=True) as lab:     # ends with this process, however that ends
    ...                                  # ssh -i lab.key_file lab.user@<a node's management address>
left = down()                            # what is left on the machine: normally nothing
"""

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from vpnmesh.errors import InputError
from vpnmesh.lab.build_spec import BuildSpec, NodeSpec, fingerprint
from vpnmesh.lab.cgroups import CgroupPlan, usable_cgroups
from vpnmesh.lab.commands import run_step
from vpnmesh.lab.controller import await_ssh, check_free, link_exists, settle_uplink
from vpnmesh.lab.directory import (
    SCHEMA_VERSION,
    LabDirectory,
    LabRecord,
    NodeRecord,
    Timing,
    boot_id,
    is_up,
    lab_directory,
)
from vpnmesh.lab.errors import LabError
from vpnmesh.lab.init_process import InitProcess, end_init
from vpnmesh.lab.keys import host_key, make_accounts, make_keys, write_known_hosts
from vpnmesh.lab.nodes import PASSWORD_USER, USER, NodeKeys, emptied_folders, hosts_file, node_files
from vpnmesh.lab.processes import ProcessIdentity, descendants, inner_pid
from vpnmesh.lab.residue import await_cgroups_gone, await_gone, await_link_gone, clear_cgroups, traces_of
from vpnmesh.lab.substrate import FOR_CONTAINERS, NEEDED, Substrate, examine, require
from vpnmesh.lab.topology import (
    OUTER_SYSCTLS,
    UPLINK,
    Topology,
    build_steps,
    controller_steps,
    node_sysctls,
    plan_topology,
    uplink_step,
)
from vpnmesh.model import Testbed
from vpnmesh.solutions import SOLUTIONS

Progress = Callable[[str, float], None]

DEFAULT_PORT_RATE_MBIT_S = 1000.0
# of what takes a second: an emulated or very busy machine takes longer
_SSH_TIMEOUT_S = 60.0
_GONE_TIMEOUT_S = 60.0
_LINGERS_S = 15.0
_DOWN_FIRST = "take it down first: python -m vpnmesh.lab down"
_WITH_CGROUPS = f"{_DOWN_FIRST}, then: python -m vpnmesh.lab up --kubernetes"


class Lab:
    """A lab that is up; as a context manager it ends an owned lab, and leaves any other alone."""

    def __init__(self, record: LabRecord, directory: LabDirectory, control: int | None = None) -> None:
        self.record = record
        self._directory = directory
        self._control = control

    @property
    def directory(self) -> Path:
        """The 0700 directory with keys, logs and lab.json."""
        return self._directory.path

    @property
    def init_pid(self) -> int:
        """The process whose end is the lab's end."""
        return self.record.init.pid

    @property
    def user(self) -> str:
        """Who logs in; its sudo asks for no password."""
        return self.record.user

    @property
    def key_file(self) -> Path:
        """The private key that every node takes, from `user` and from `password_user`."""
        return self._directory.key

    @property
    def known_hosts(self) -> Path:
        """The nodes' host keys, by management address."""
        return self._directory.known_hosts

    @property
    def password_user(self) -> str:
        """A second user, whose sudo asks for the password in `password_file`."""
        return PASSWORD_USER

    @property
    def password_file(self) -> Path:
        """The password of `password_user`, 0600."""
        return self._directory.password

    @property
    def timings(self) -> tuple[Timing, ...]:
        """Seconds per step of the `up` that made this lab."""
        return self.record.timings

    @property
    def owned(self) -> bool:
        """Whether this very object brought the lab up as its own, so that `close` ends it."""
        return self._control is not None

    def node_pid(self, name: str) -> int:
        """A node's first process as the machine sees it; KeyError if there is no such node."""
        return {node.name: node.first.pid for node in self.record.nodes}[name]

    def close(self) -> tuple[str, ...]:
        """End an owned lab; returns what is left of it, normally nothing. Leaves a lab that is not owned alone."""
        if self._control is None:
            return ()
        control, self._control = self._control, None
        try:
            return _down(self._directory, only=self.record.init)
        finally:
            os.close(control)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def up(
    testbed: Testbed,
    *,
    directory: Path | None = None,
    port_rate_mbit_s: float | None = DEFAULT_PORT_RATE_MBIT_S,
    kubernetes: bool = False,
    owned: bool = False,
    progress: Progress | None = None,
) -> Lab:
    """Bring the lab up, or return the one that is up already if it is the same. Needs root.

    With `kubernetes` its nodes can run containers; a lab that has it serves also who does not ask for it.
    `owned` ties it to this process. `progress` gets each step's name and seconds. InputError or
    UnavailableError before anything is touched; LabError names the step that failed, after everything
    that was built is gone.
    """
    _check_root()
    place = lab_directory(directory)
    topology = plan_topology(testbed, port_rate_mbit_s=port_rate_mbit_s)
    wanted = fingerprint(topology, [hosts_file(testbed, node) for node in topology.nodes])
    with place.locked():
        if existing := find(place.path):
            _check_same(existing, wanted, port_rate_mbit_s)
            check_kubernetes(existing, kubernetes=kubernetes)
            _check_whole(existing)
            return existing
        place.check_ours()
        construction = _Construction(testbed, topology, place, progress, kubernetes=kubernetes)
        return construction.run(wanted, owned=owned)


def find(directory: Path | None = None) -> Lab | None:
    """The lab that is up in a directory, None if there is none; its init is checked by id and start time."""
    place = lab_directory(directory)
    record = place.read()
    return Lab(record, place) if record and is_up(record) else None


def down(directory: Path | None = None) -> tuple[str, ...]:
    """Take the lab down, wait until it is gone, remove its directory; returns what is left, normally nothing."""
    _check_root()
    return _down(lab_directory(directory))


def _down(place: LabDirectory, only: ProcessIdentity | None = None) -> tuple[str, ...]:
    """Take down the lab of a directory, or `only` the one with this init: another may have come since."""
    with place.locked():
        record = place.read()
        if only and record and record.init != only:
            return ()
        if record and is_up(record):
            left = _end(place, record.starter, record.init)
        else:
            await_link_gone(UPLINK, place.path, _LINGERS_S)
            left = await_cgroups_gone(place.path, _GONE_TIMEOUT_S)
        place.remove()
        return left


def _end(place: LabDirectory, *processes: ProcessIdentity) -> tuple[str, ...]:
    """Kill a lab by the process that init_process it, then its init, and wait until the kernel has cleaned up."""
    traces = traces_of(processes, (UPLINK,), place.path)
    end_init(*processes)
    return await_gone(traces, _GONE_TIMEOUT_S)


def _check_root() -> None:
    if os.geteuid() != 0:
        raise InputError("lab", "needs root, for namespaces and links", "run it as root, e.g. with sudo")


def _check_same(existing: Lab, wanted: str, port_rate_mbit_s: float | None) -> None:
    record = existing.record
    if record.fingerprint == wanted:
        return
    differs = "nodes, VLANs or addresses"
    if record.port_rate_mbit_s != port_rate_mbit_s:
        differs = f"port rate ({_rate(record.port_rate_mbit_s)}, asked for {_rate(port_rate_mbit_s)})"
    raise InputError(
        "lab",
        f"another lab is up in {existing.directory}, with other {differs}",
        _DOWN_FIRST,
    )


def check_kubernetes(existing: Lab, *, kubernetes: bool) -> None:
    """InputError if nodes of Kubernetes are asked for, and those of the lab that is up cannot be."""
    if kubernetes and not existing.record.kubernetes:
        raise InputError(
            "lab", f"the nodes of the lab in {existing.directory} cannot run containers", _WITH_CGROUPS
        )


def _check_whole(existing: Lab) -> None:
    """InputError if the lab cannot be used here: a node died, or it belongs to another network namespace."""
    if dead := [node.name for node in existing.record.nodes if not node.first.alive]:
        raise InputError("lab", f"a lab is up, but not its {', '.join(dead)}", _DOWN_FIRST)
    if not link_exists(UPLINK):
        raise InputError(
            "lab",
            f"the lab in {existing.directory} belongs to another network namespace",
            "set VPNMESH_LAB_DIR to another directory",
        )


def _rate(rate_mbit_s: float | None) -> str:
    return "unshaped" if rate_mbit_s is None else f"{rate_mbit_s:g} Mbit/s"


class _Construction:
    """One run of `up`: keeps the seconds of each step, and leaves nothing behind when a step fails."""

    def __init__(
        self,
        testbed: Testbed,
        topology: Topology,
        place: LabDirectory,
        progress: Progress | None,
        *,
        kubernetes: bool,
    ) -> None:
        self._testbed = testbed
        self._topology = topology
        self._place = place
        self._progress = progress
        self._kubernetes = kubernetes
        self._timings: list[Timing] = []

    def run(self, wanted: str, *, owned: bool) -> Lab:
        """Check the machine, then build; whatever interrupts the building, everything is removed again."""
        with self._step("checks"):
            substrate = examine(NEEDED | FOR_CONTAINERS if self._kubernetes else NEEDED)
            require(substrate, shaped=self._topology.port_rate_mbit_s is not None)
            cgroups = usable_cgroups(self._place.path) if self._kubernetes else None
            await_link_gone(UPLINK, self._place.path, _LINGERS_S)
            check_free(self._topology)
            clear_cgroups(self._place.path, _GONE_TIMEOUT_S)
        try:
            return self._build(substrate, cgroups, wanted, owned=owned)
        except BaseException:
            self._place.remove()
            raise

    def _build(self, substrate: Substrate, cgroups: CgroupPlan | None, wanted: str, *, owned: bool) -> Lab:
        self._place.remove()  # of a lab that was killed
        self._place.make()
        init_process = InitProcess(self._place)
        try:
            with self._step("keys"):  # while the init's Python starts
                self._place.build_spec.touch(mode=0o600)
                self._place.build_spec.write_text(self._build_spec(substrate, cgroups).to_json())
            init_process.say("build")
            record = self._start(init_process, wanted, owned=owned)
        except BaseException:
            left = _end(self._place, init_process.starter)
            init_process.close()
            if left:
                raise LabError("clean-up", f"left behind: {', '.join(left)}") from None
            raise
        return Lab(record, self._place, init_process.keep_control() if owned else None)

    def _start(self, init_process: InitProcess, wanted: str, *, owned: bool) -> LabRecord:
        init_process.await_field("started", self._tell)
        init = init_process.init
        with self._step("controller's link"):
            run_step(controller_steps(self._topology, init.pid))
            settle_uplink()
        init_process.say("uplink")
        first_pids = init_process.await_field("nodes", self._tell)
        init_process.await_step(uplink_step().name, self._tell)
        with self._step("ssh answers"):
            await_ssh((node.management for node in self._testbed.nodes), _SSH_TIMEOUT_S)
        self._place.build_spec.unlink()
        record = self._record(init_process, init, first_pids, wanted, owned=owned)
        self._place.write(record)
        if not owned:
            init_process.say("detach")
            init_process.close()
        return record

    def _build_spec(self, substrate: Substrate, cgroups: CgroupPlan | None) -> BuildSpec:
        """Make this lab's keys and accounts, and put together all that its init needs."""
        names = self._topology.nodes
        make_keys(self._place, names)
        write_known_hosts(self._place, ((node.name, node.management) for node in self._testbed.nodes))
        machine = {name: Path("/etc", name).read_text() for name in ("passwd", "group")}
        accounts = make_accounts(self._place, machine["passwd"], machine["group"])
        client = self._place.key.with_suffix(".pub").read_text()
        return BuildSpec(
            steps=build_steps(self._topology, port_isolation=substrate.has("port-isolation")),
            uplink=uplink_step(),
            sysctls=OUTER_SYSCTLS,
            accounts=accounts,
            nodes=tuple(
                NodeSpec(
                    name=name,
                    sysctls=node_sysctls(self._topology, name),
                    files=node_files(
                        self._testbed,
                        name,
                        NodeKeys(host_key(self._place, name).read_text(), client),
                        accounts,
                        machine,
                    ),
                    emptied=emptied_folders(SOLUTIONS.values()),
                )
                for name in names
            ),
            cgroups=cgroups,
        )

    def _record(
        self,
        init_process: InitProcess,
        init: ProcessIdentity,
        first_pids: dict[str, int],
        wanted: str,
        *,
        owned: bool,
    ) -> LabRecord:
        processes = {inner_pid(one.pid): one for one in descendants(init.pid)}
        return LabRecord(
            schema_version=SCHEMA_VERSION,
            boot_id=boot_id(),
            testbed=self._testbed.name,
            fingerprint=wanted,
            port_rate_mbit_s=self._topology.port_rate_mbit_s,
            owned=owned,
            owner_pid=os.getpid(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            kernel=platform.release(),
            init=init,
            starter=init_process.starter,
            controller=str(self._topology.controller),
            uplink=UPLINK,
            user=USER,
            nodes=tuple(
                NodeRecord(node.name, node.management, str(node.underlay), processes[first_pids[node.name]])
                for node in self._testbed.nodes
            ),
            timings=tuple(self._timings),
            kubernetes=self._kubernetes,
        )

    def _tell(self, name: str, seconds: float) -> None:
        self._timings.append(Timing(name, seconds))
        if self._progress:
            self._progress(name, seconds)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._tell(name, round(time.monotonic() - begun, 4))
