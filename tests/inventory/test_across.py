"""What travels to Dask workers and what does not, which worker asks which host, and how a worker finds its logins."""

import dataclasses
import os
import pickle
import subprocess
import sys
import threading
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nornir.core.inventory import ConnectionOptions, Defaults, Group, Host, ParentGroups
from nornir.core.task import MultiResult, Result

import tasks
import vpnmesh.cluster
from inventory.across.certificates import ROLES, Credentials, checked_address, make_credentials
from inventory.across.logins import Logins
from inventory.across.parcel import CannotTravelError, ForeignParcelError, Seal
from inventory.across.placing import DaskWorker, NoDaskWorkerError, worker_for
from inventory.across.plain_hosts import PlainHost
from inventory.across.results import nornir_results, plain_results
from inventory.load import load
from inventory.repeating import may_repeat, why_on_controller
from tests.conftest import ROOT
from vpnmesh.errors import CommandError, InputError, VerifyError
from vpnmesh.model import Role, Testbed
from vpnmesh.plan import Completed, Secret
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.stages import side_by_side, stages_of
from vpnmesh.study.programs import solution_from
from vpnmesh.study.scenarios import BUILT_IN

SEAL = Seal(Seal.new_key())
SECRETS = (
    "s3cret-password",
    "/root/.ssh/controller",
    "s3cret-sudo",
    "s3cret-phrase",
    "s3cret-token",
    "/known",
)


@pytest.mark.parametrize("folder", ["", "/opt/other"])
@pytest.mark.parametrize("name", BUILT_IN.names)
def test_every_stage_of_every_scenario_travels(bed: Testbed, name: str, folder: str) -> None:
    """By its name: on the worker it is what it is here, joined ones too."""
    scenario = dataclasses.replace(BUILT_IN.named(name), program_folder=folder)
    solution = solution_from(SOLUTIONS[scenario.solution], scenario)
    mesh = Mesh(bed, scenario)
    for stage in side_by_side(stages_of(solution, mesh)):
        there = SEAL.open_trusted(SEAL.pack({"stage": stage, "mesh": mesh, "solution": solution}))
        assert (there["stage"].name, there["stage"].nodes) == (stage.name, stage.nodes)
        assert there["mesh"] == mesh
        assert there["solution"].name == solution.name


def test_every_installer_travels() -> None:
    """Whatever they are made of."""
    for installer in vpnmesh.cluster.INSTALLERS.values():
        assert SEAL.open_trusted(SEAL.pack(installer)).name == installer.name


def test_values_come_back_as_they_were() -> None:
    """Everything that our tasks' results are made of."""
    value = {
        "secret": Secret("hush"),
        "address": IPv4Address("10.0.0.1"),
        "said": (Completed(("a",), 1, "", "oh"), frozenset({1})),
        "table": MappingProxyType({"a": b"\0"}),
    }
    back = SEAL.open_values(SEAL.pack(value))
    assert back == value
    assert back["secret"].reveal() == "hush"


@settings(max_examples=20)
@given(st.binary(max_size=200))
def test_bytes_of_others_are_not_even_opened(content: bytes) -> None:
    """Neither random ones nor those sealed with another key."""
    for parcel in (content, Seal(Seal.new_key()).pack(content)):
        with pytest.raises(ForeignParcelError):
            SEAL.open_values(parcel)
        with pytest.raises(ForeignParcelError):
            SEAL.open_trusted(parcel)


class Evil:
    """Runs something where it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/nowhere/at/all",)


@dataclasses.dataclass
class OfATest:
    """A value of a package that is neither ours nor the task's."""


@pytest.mark.parametrize("value", [Evil(), OfATest(), subprocess.Popen, print, pickle.loads])
def test_the_controller_opens_values_and_nothing_that_does_something(value: object) -> None:
    """Functions and classes of anything else are refused by name, before they are called."""
    with pytest.raises(ForeignParcelError, match="no class of plain values"):
        SEAL.open_values(SEAL.pack([value]))


def test_a_package_of_ones_own_may_answer_with_its_values() -> None:
    """The task's package is trusted as far as its dataclasses."""
    assert SEAL.open_values(SEAL.pack(OfATest()), [__name__]) == OfATest()


def _inner() -> Any:
    def inside() -> None: ...

    return inside


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda: None, "a lambda"),
        (_inner(), "a function made inside"),
        (Host("a"), "a live Host"),
        (os, "the module os"),
        (sys.stdout, "a live object"),
        (threading.Lock(), "a live object"),
    ],
)
def test_what_lives_is_refused_by_name(value: object, reason: str) -> None:
    """Wherever in a value it is."""
    with pytest.raises(CannotTravelError, match=reason):
        SEAL.pack({"deep": [value]})


def _host() -> Host:
    password, key, sudo, phrase, token, known = SECRETS
    extras = {"key_file": key, "passphrase": phrase, "alt_key_file": known, "use_keys": True, "secret": token}
    return Host(
        "edge-1",
        hostname="192.0.2.1",
        username="ops",
        password=password,
        groups=ParentGroups([Group("vlan__10", data={"token": token}), Group("site__edge")]),
        data={"sudo_password": sudo, "api": {"token": token}, "kind": "metal", "rack": "r1"},
        connection_options={"netmiko": ConnectionOptions(extras=extras)},
        defaults=Defaults(port=2222),
    )


def test_of_a_host_only_what_describes_it_travels() -> None:
    """Nothing that opens it, wherever in the inventory that is; what is named beside the testbed's keys comes too."""
    plain = PlainHost.of(_host(), ["rack"])
    assert (plain.hostname, plain.port, plain.username, plain.site) == ("192.0.2.1", 2222, "ops", "edge")
    assert plain.data == {"kind": "metal", "rack": "r1"}
    assert plain.extras == {"use_keys": True}
    content = pickle.dumps(dataclasses.astuple(plain))
    assert not [secret for secret in SECRETS if secret.encode() in content]


def test_a_worker_logs_in_with_what_it_finds_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, a variable, a command; for all hosts and for one; host keys are always checked."""
    monkeypatch.setenv("EDGE_PASSWORD", "from the environment")
    logins = Logins.read(
        _file(
            tmp_path,
            "defaults: {key_file: /k, known_hosts: /h, password: {env: EDGE_PASSWORD}}\n"
            "hosts: {edge-1: {username: admin, sudo_password: {command: [echo, of edge-1]}}}\n",
        )
    )
    own = PlainHost.of(_host()).with_login(logins.of("edge-1"))
    assert (own.username, own.password, own["sudo_password"]) == (
        "admin",
        "from the environment",
        "of edge-1",
    )
    extras = own.get_connection_parameters("netmiko").extras
    assert extras is not None
    wanted = {"ssh_strict": True, "key_file": "/k", "alt_key_file": "/h", "system_host_keys": False}
    assert {key: extras[key] for key in wanted} == wanted
    assert "admin" not in repr(logins.of("edge-1"))


def _file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "logins.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("defaults: {}", 0o640, "may be read by others; chmod 600"),
        ("default: {}", 0o600, "unknown key 'default'"),
        ("defaults: {pasword: x}", 0o600, "unknown key 'pasword'"),
        ("hosts: [a]", 0o600, "hosts: is no mapping"),
        ("hosts: {a: {password: 12}}", 0o600, "hosts: a: password: is no text"),
        ("hosts: {a: {password: {command: ls}}}", 0o600, "is no text"),
        ("hosts: {a: [", 0o600, "no YAML"),
    ],
)
def test_a_wrong_file_of_logins_is_one_sentence(tmp_path: Path, text: str, mode: int, said: str) -> None:
    """With the place and the way out."""
    with pytest.raises(InputError, match=r"logins.yaml") as refused:
        Logins.read(_file(tmp_path, text, mode))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "asked", ["{env: NOWHERE_SET}", "{command: [/nowhere/at/all]}", "{command: ['false']}"]
)
def test_a_login_that_is_not_found_says_where(tmp_path: Path, asked: str) -> None:
    """Of that host alone: others are logged in to."""
    logins = Logins.read(_file(tmp_path, f"hosts: {{a: {{password: {asked}}}}}"))
    with pytest.raises(InputError, match=r"logins.yaml: a: password: "):
        logins.of("a")
    assert logins.of("b").password is None


SITES = st.sampled_from(["edge", "core", "moon", ""])
WORKERS = st.lists(
    st.builds(
        lambda name, sites: DaskWorker(f"tls://{name}", name, frozenset(sites), 4),
        st.text("abc", min_size=1, max_size=3),
        st.sets(st.sampled_from(["edge", "core", "*"])),
    ),
    max_size=6,
    unique_by=lambda one: one.name,
)


@settings(max_examples=50)
@given(SITES, WORKERS, st.data())
def test_a_host_stays_with_its_worker_as_long_as_that_is_there(
    site: str, workers: list[DaskWorker], data: st.DataObject
) -> None:
    """Whoever else comes or goes; and it is one that reaches the site."""
    able = [one for one in workers if one.reaches(site)]
    if not able:
        with pytest.raises(NoDaskWorkerError):
            worker_for("host", site, workers)
        return
    chosen = worker_for("host", site, workers)
    assert chosen in able
    left = data.draw(st.lists(st.sampled_from(workers), unique_by=lambda one: one.name))
    assert worker_for("host", site, [*left, chosen]) == chosen


def test_hosts_are_spread() -> None:
    """A thousand over four workers: none has less than a fifth (by chance less than once in 10,000)."""
    workers = [DaskWorker(f"w{number}", f"w{number}", frozenset({"*"}), 4) for number in range(4)]
    chosen = [worker_for(f"host{number}", "", workers).name for number in range(1000)]
    assert min(chosen.count(one.name) for one in workers) > 200


def test_results_and_errors_are_rebuilt() -> None:
    """With subtasks' results; ours with their fields, though their constructors take other arguments."""
    host = Host("a")
    results = MultiResult("outer")
    error = CommandError("a", ("ls", "x"), 2, "no such file")
    results.append(Result(host, "text", changed=True, diff="+x", stdout="more"))
    results.append(Result(host, exception=error, failed=True))
    results.append(Result(host, exception=VerifyError("a", "b", "c"), failed=True))
    plain = SEAL.open_values(SEAL.pack(plain_results(results, "tasks")))
    first, second, third = nornir_results(plain, host, "w")
    assert (first.result, first.changed, first.diff, first.stdout, first.host) == (
        "text",
        True,
        "+x",
        "more",
        host,
    )
    assert isinstance(second.exception, CommandError)
    assert vars(second.exception) == vars(error)
    assert str(second.exception) == str(error)
    assert isinstance(third.exception, VerifyError)


def test_every_task_says_where_it_may_run() -> None:
    """Those that converge or read may be repeated; those that need the controller say what for; few say neither."""
    neither = {
        name
        for name in tasks.__all__
        if not may_repeat(getattr(tasks, name)) and not why_on_controller(getattr(tasks, name))
    }
    assert neither == {"claim_lease", "kill_services", "run_command", "set_nat_kinds"}
    assert why_on_controller(tasks.measure)
    assert not may_repeat(tasks.measure)


def test_credentials_are_for_their_owner_alone(tmp_path: Path) -> None:
    """0600 in 0700; the scheduler has no key to what it hands on; nothing is ever replaced."""
    made = make_credentials(tmp_path / "made")
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in made} == {0o700}
    assert not (tmp_path / "made" / "scheduler" / "seal.key").exists()
    for role in ROLES:
        assert Credentials.read(tmp_path / "made", role).folder == tmp_path / "made" / role
    with pytest.raises(InputError, match="is not empty"):
        make_credentials(tmp_path / "made")
    (tmp_path / "made" / "worker" / "seal.key").chmod(0o640)
    with pytest.raises(InputError, match="may be read by others; chmod 600"):
        Credentials.read(tmp_path / "made", "worker")
    (tmp_path / "made" / "client" / "key.pem").unlink()
    with pytest.raises(InputError, match=r"key.pem: missing; make them with"):
        Credentials.read(tmp_path / "made", "client")


@pytest.mark.parametrize(
    ("address", "plain", "good"),
    [
        ("tls://192.0.2.1:8786", False, True),
        ("tcp://192.0.2.1:8786", False, False),
        ("tcp://192.0.2.1:8786", True, False),
        ("tcp://127.0.0.1:8786", False, False),
        ("tcp://127.0.0.1:8786", True, True),
        ("tcp://[::1]:8786", True, True),
        ("tcp://localhost:8786", True, False),
        ("192.0.2.1:8786", False, False),
        ("tls://192.0.2.1", False, False),
        ("tls://:8786", False, False),
        ("tls://a:x", False, False),
        ("", False, False),
    ],
)
def test_nothing_is_spoken_in_the_clear(address: str, *, plain: bool, good: bool) -> None:
    """But on loopback, by an address that is one, where it was asked for."""
    if good:
        assert checked_address(address, "here", plain=plain) == address
    else:
        with pytest.raises(InputError, match="tls://HOST:PORT"):
            checked_address(address, "here", plain=plain)


@pytest.mark.slow
def test_without_the_choice_nothing_of_dask_is_imported() -> None:
    """Loading an inventory takes as long as before, also where the package is there."""
    program = "import sys; from inventory.load import load; load('lab'); print('distributed' in sys.modules)"
    done = subprocess.run(
        (sys.executable, "-c", program), capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "False\n"


def test_without_the_package_the_choice_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the way out."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setenv("VPNMESH_DASK", "tls://192.0.2.1:8786")
    nr, _ = load("lab")
    with pytest.raises(InputError, match=r"distributed is not installed; pip install 'vpnmesh\[dask\]'"):
        nr.run(tasks.run_command, argv=("true",))


class _AsPython311(StrEnum):
    """An enumeration that says how it is pickled as Python 3.11.2 has all of them say it."""

    RED = "red"

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return getattr, (self.__class__, self._name_)


def test_enumerations_travel_however_this_python_would_pickle_them() -> None:
    """`getattr`, which Python 3.11.2 would have called, is opened by nobody."""
    package = __name__.partition(".")[0]
    assert SEAL.open_values(SEAL.pack(_AsPython311.RED), (package,)) is _AsPython311.RED
    assert SEAL.open_values(SEAL.pack(Role.RELAY)) is Role.RELAY
