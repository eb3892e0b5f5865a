"""First logins, with a real sshd: host keys asked for once, strict then; login keys that are locked, or an agent's."""

import contextlib
import os
import pty
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

import tasks
from inventory import secrets
from inventory.load import load_hosts
from tasks import host_key
from tests.conftest import ROOT
from tests.live.conftest import private_network
from tests.live.far_sites import start_sshd
from tests.terminal import read_until
from vpnmesh.lab.controller import await_ssh
from vpnmesh.lab.waiting import wait_until
from workflows.inventory import main
from workflows.run.hosts import HostsFailedError, run_on

pytestmark = pytest.mark.live

ADDRESSES = {"worker1": ("127.1.0.1", 22), "worker2": ("127.1.0.2", 2222)}
NAMES = ("127.1.0.1", "[127.1.0.2]:2222")
FIREWALL = {"hostname": "127.1.0.9", "port": 9, "data": {"firewall_driver": "manual"}}


@dataclass(frozen=True)
class Keys:
    """The folder with the servers' keys, and its key as OpenSSH prints it."""

    folder: Path

    @property
    def public(self) -> str:
        """Type and key, as a line of known_hosts has them."""
        return self.of("host_key")

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen prints it."""
        return self.print_of("host_key")

    def of(self, name: str) -> str:
        """Type and key of that file."""
        return " ".join((self.folder / f"{name}.pub").read_text().split()[:2])

    def print_of(self, name: str) -> str:
        """The fingerprint of that file's key."""
        argv = ("ssh-keygen", "-lf", str(self.folder / f"{name}.pub"))
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[1]


@pytest.fixture(scope="module")
def keys(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """Every loopback address is a host, at the usual port and at another."""
    folder = tmp_path_factory.mktemp("sshd")
    for name, kind in (
        ("host_key", "ed25519"),
        ("host_key_rsa", "rsa"),
        ("host_key_ecdsa", "ecdsa"),
        ("id_ed25519", "ed25519"),
    ):
        argv = ("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(folder / name))
        subprocess.run(argv, check=True)
    with private_network(), ExitStack() as stack:
        more = f"HostKey {folder}/host_key_rsa\nHostKey {folder}/host_key_ecdsa\nPort 22\nPort 2222\n"
        start_sshd(stack, folder, "here", "0.0.0.0", (), more)
        await_ssh(["127.1.0.1"], 60.0)
        yield Keys(folder)


@dataclass(frozen=True)
class Bed:
    """An inventory, and the file in which its logins look for keys."""

    folder: Path
    known: Path

    def trust(self, *arguments: str) -> Result:
        """Call the command, at no terminal."""
        return CliRunner().invoke(main, ["trust", str(self.folder), *arguments])

    def says(self, host: str) -> str:
        """What a command says on a host, by a strict login; the reason where there is none."""
        nr = load_hosts(str(self.folder))
        try:
            return str(run_on(nr, [host], tasks.run_command, argv=("echo", "in"))[host].result).strip()
        except HostsFailedError as error:
            return str(error)
        finally:
            nr.close_connections()


@pytest.fixture
def bed(keys: Keys, tmp_path: Path) -> Bed:
    """Two hosts of whom nobody knows a key, and a firewall that SSH does not lead to."""
    return made(
        tmp_path, keys, {name: {"hostname": at, "port": port} for name, (at, port) in ADDRESSES.items()}
    )


def made(folder: Path, keys: Keys, hosts: dict[str, dict[str, object]]) -> Bed:
    known = folder / "ssh" / "known_hosts"
    extras = {"use_keys": True, "key_file": str(keys.folder / "id_ed25519"), "conn_timeout": 20}
    extras |= {"alt_host_keys": True, "alt_key_file": str(known)}
    netmiko = {"platform": "linux", "extras": extras}
    defaults = {
        "username": "root",
        "data": {"testbed": True, "ssh_passphrase": {"command": ["false"]}},
        "connection_options": {"netmiko": netmiko},
    }
    everything = {"hosts": {**hosts, "fw": FIREWALL}, "groups": {}, "defaults": defaults}
    for name, one in everything.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(one))
    return Bed(folder, known)


def knowing(bed: Bed, text: str) -> None:
    bed.known.parent.mkdir(exist_ok=True)
    bed.known.write_text(text)


def without_passphrase(bed: Bed) -> None:
    """The login key has none: only whoever logs in would ask for it."""
    file = bed.folder / "defaults.yaml"
    defaults = yaml.safe_load(file.read_text())
    del defaults["data"]["ssh_passphrase"]
    file.write_text(yaml.safe_dump(defaults))


def test_new_keys_are_accepted_by_fingerprint_and_logins_are_strict_then(bed: Bed, keys: Keys) -> None:
    """Both hosts, one at a port of its own; no secret is asked for; the second time all are known."""
    both = [f"--accept={name}={keys.fingerprint}" for name in ADDRESSES]
    done = bed.trust(*both)
    assert done.exit_code == 0, done.output
    assert done.output.count(keys.fingerprint) == 2
    assert "ED25519" in done.output
    assert bed.known.read_text() == "".join(f"{name} {keys.public}\n" for name in NAMES)
    assert stat.S_IMODE(bed.known.stat().st_mode) == 0o600
    assert [one.name for one in bed.known.parent.iterdir()] == ["known_hosts"]
    again = bed.trust()
    assert again.exit_code == 0, again.output
    assert again.output.count("already known") == 2
    without_passphrase(bed)
    assert [bed.says(name) for name in ADDRESSES] == ["in", "in"]


def test_what_is_not_accepted_stays_unknown(bed: Bed, keys: Keys) -> None:
    """One of two; another fingerprint, an unknown host, no terminal: nothing is written."""
    for given, said in (
        (("--accept=worker1=SHA256:other",), "worker1 shows SHA256:"),
        (("--accept=nobody=SHA256:x",), "unknown host 'nobody'"),
        (("--accept=worker1",), "is no key"),
        ((), "there is no terminal to ask at"),
    ):
        done = bed.trust(*given)
        assert (done.exit_code, said in done.output) == (2, True), done.output
        assert not bed.known.exists()
    done = bed.trust(f"--accept=worker1={keys.fingerprint}")
    assert (done.exit_code, "still unknown: worker2" in done.output) == (1, True)
    without_passphrase(bed)
    assert bed.says("worker1") == "in"
    assert "its host key is not known" in bed.says("worker2")


@pytest.mark.parametrize("hashed", [False, True])
def test_a_changed_key_is_never_accepted(bed: Bed, keys: Keys, *, hashed: bool) -> None:
    """File and line are named, and the file is as it was, though the other host's key is new and accepted."""
    other = keys.of("id_ed25519")
    knowing(bed, f"# by hand\n127.1.0.1 {other}\n")
    if hashed:
        subprocess.run(("ssh-keygen", "-q", "-H", "-f", str(bed.known)), check=True, capture_output=True)
    before = bed.known.read_bytes()
    done = bed.trust(*[f"--accept={name}={keys.fingerprint}" for name in ADDRESSES])
    assert done.exit_code == 2
    assert "CHANGED" in done.output
    assert f"{bed.known}: line 2: worker1 (127.1.0.1) shows another key" in done.output
    assert bed.known.read_bytes() == before
    without_passphrase(bed)
    assert "its host key is not the known one" in bed.says("worker1")


def test_a_revoked_key_is_never_accepted(bed: Bed, keys: Keys) -> None:
    """Whoever marked it had a reason."""
    knowing(bed, f"@revoked * {keys.public}\n")
    done = bed.trust(f"--accept=worker1={keys.fingerprint}")
    assert (done.exit_code, f"{bed.known}: line 1: revokes the key" in done.output) == (2, True), done.output


def test_the_file_keeps_its_form_and_the_type_that_is_known(bed: Bed, keys: Keys) -> None:
    """Hashed names stay hashed, for ssh-keygen too; a link stays one; an RSA key that is known is asked for."""
    rsa = keys.of("host_key_rsa")
    knowing(bed, f"127.1.0.1 {rsa}")
    subprocess.run(("ssh-keygen", "-q", "-H", "-f", str(bed.known)), check=True, capture_output=True)
    real = bed.folder / "real"
    shutil.move(bed.known, real)
    bed.known.symlink_to(real)
    before = real.read_text()
    done = bed.trust(f"--accept=worker2={keys.fingerprint}")
    assert done.exit_code == 0, done.output
    assert "RSA" in done.output
    assert bed.known.is_symlink()
    assert real.read_text().startswith(before.rstrip("\n") + "\n|1|")
    assert real.read_text().count("\n") == 2
    found = subprocess.run(
        ("ssh-keygen", "-F", NAMES[1], "-f", str(real)), capture_output=True, text=True, check=False
    )
    assert keys.public.split()[1] in found.stdout
    without_passphrase(bed)
    assert [bed.says(name) for name in ADDRESSES] == ["in", "in"]


def test_who_does_not_answer_is_named(keys: Keys, tmp_path: Path) -> None:
    """The others are written all the same, two names of one address as one line."""
    one: dict[str, object] = {"hostname": "127.1.0.1"}
    bed = made(tmp_path, keys, {"worker1": one, "twin1": one, "gone": {"hostname": "127.1.0.3", "port": 23}})
    done = bed.trust(*[f"--accept={name}={keys.fingerprint}" for name in ("worker1", "twin1")])
    assert done.exit_code == 1
    assert "not reached: gone: no SSH: connection refused at 127.1.0.3:23" in done.output
    assert bed.known.read_text() == f"127.1.0.1 {keys.public}\n"


def test_a_switchs_key_is_the_one_that_its_own_login_wants(keys: Keys, tmp_path: Path) -> None:
    """Another library logs in there, which asks for ECDSA first, whatever type is known; its file is the host's."""
    known = tmp_path / "of_switches"
    known.write_text(f"127.1.0.4 {keys.public}\n")
    data = {"known_hosts": str(known), "key_file": str(keys.folder / "id_ed25519"), "ssh_passphrase": ""}
    switch: dict[str, object] = {"hostname": "127.1.0.4", "platform": "arista_eos", "data": data}
    bed = made(tmp_path, keys, {"switch1": switch})
    assert "known host check mismatch" in switch_says(bed)
    done = bed.trust(f"--accept=switch1={keys.print_of('host_key_ecdsa')}")
    assert done.exit_code == 0, done.output
    assert known.read_text().endswith(f"127.1.0.4 {keys.of('host_key_ecdsa')}\n")
    # a shell that is no switch's: so far only a login comes
    assert "failed determining prompt" in switch_says(bed)


def switch_says(bed: Bed) -> str:
    """Why the ports of what is no switch cannot be read."""
    nr = load_hosts(str(bed.folder))
    with pytest.raises(HostsFailedError) as caught:
        run_on(nr, ["switch1"], tasks.read_ports, ports=("Ethernet1",))
    return str(caught.value)


def test_nobody_is_waited_for_without_end(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """One server greets and then says nothing more; no login key needs be there to ask for a host's."""
    monkeypatch.setattr(host_key, "SESSION_S", 1.0)
    change(bed, {"worker1": {"hostname": "127.1.0.5", "port": 24}}, key_file="/nowhere")
    with socket.create_server(("127.1.0.5", 24)) as listening:
        threading.Thread(target=greet_only, args=(listening,), daemon=True).start()
        done = bed.trust()
    assert done.exit_code == 1
    assert "not reached: worker1: no SSH: greeted, but no key within 1 s at 127.1.0.5:24" in done.output


def greet_only(listening: socket.socket) -> None:
    """Take one connection, and hold it until its other end closes it."""
    with listening.accept()[0] as one, contextlib.suppress(OSError):
        one.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        while one.recv(4096):
            pass


def change(bed: Bed, hosts: dict[str, dict[str, object]], **extras: object) -> None:
    """Other hosts, and other options of logins."""
    (bed.folder / "hosts.yaml").write_text(yaml.safe_dump(hosts))
    file = bed.folder / "defaults.yaml"
    defaults = yaml.safe_load(file.read_text())
    defaults["connection_options"]["netmiko"]["extras"] |= extras
    file.write_text(yaml.safe_dump(defaults))


@pytest.mark.parametrize(("answer", "exit_code"), [("n", 1), ("y", 0)])
def test_at_a_terminal_it_asks_once(bed: Bed, keys: Keys, answer: str, exit_code: int) -> None:
    """No leaves the file as it was; yes writes both."""
    knowing(bed, "# nobody\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"PYTHONPATH": str(ROOT), "COLUMNS": "64"}
        os.execv(sys.executable, (sys.executable, "-m", "workflows.inventory", "trust", str(bed.folder)))
    shown = read_until(terminal, "[y/N]")
    assert keys.fingerprint in shown
    assert "Are these the keys of worker1, worker2?" in shown
    os.write(terminal, f"{answer}\n".encode())
    rest = read_until(terminal, "[y/N]")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == exit_code, rest
    assert "[y/N]" not in rest
    wanted = "".join(f"{name} {keys.public}\n" for name in NAMES) if answer == "y" else ""
    assert bed.known.read_text() == f"# nobody\n{wanted}"


@pytest.fixture
def agent(keys: Keys) -> Iterator[None]:
    """A real agent, found as every agent is, that holds the login key."""
    with pytest.MonkeyPatch.context() as environment, socket_folder() as folder:
        path = folder / "agent"
        process = subprocess.Popen(
            ("setpriv", "--pdeathsig", "KILL", "ssh-agent", "-D", "-a", str(path)), stdout=subprocess.DEVNULL
        )
        try:
            wait_until(path.exists, 30.0)
            environment.setenv("SSH_AUTH_SOCK", str(path))
            subprocess.run(("ssh-add", "-q", str(keys.folder / "id_ed25519")), check=True)
            yield
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder with a name that is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="agent", dir="/tmp") as made:
        yield Path(made)


def ready(bed: Bed, keys: Keys, **extras: object) -> Bed:
    """The first host alone, whose key is known, and these options of logins."""
    knowing(bed, f"127.1.0.1 {keys.public}\n")
    change(bed, {"worker1": {"hostname": "127.1.0.1"}}, **extras)
    return bed


@pytest.mark.usefixtures("agent")
def test_an_agent_opens_a_host_and_no_key_file_is_named(bed: Bed, keys: Keys) -> None:
    """Where the login's options allow it, and only there."""
    without_passphrase(bed)
    ready(bed, keys, use_keys=False, key_file=None, allow_agent=True)
    assert bed.says("worker1") == "in"
    change(bed, {"worker1": {"hostname": "127.1.0.1"}}, allow_agent=False)
    assert "worker1: no SSH: nothing to log in with: " in bed.says("worker1")


def test_a_locked_key_is_opened_by_what_a_command_prints(
    bed: Bed, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command is run once a process; a wrong passphrase is one sentence without it."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    locked = bed.folder / "locked"
    shutil.copy(keys.folder / "id_ed25519", locked)
    locked.chmod(0o600)
    change_of_phrase = ("ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(locked))
    subprocess.run(change_of_phrase, check=True, capture_output=True)
    (bed.folder / "phrase").write_text("open sesame\n")
    ready(bed, keys, key_file=str(locked), allow_agent=False)
    file = bed.folder / "defaults.yaml"
    defaults = yaml.safe_load(file.read_text())
    defaults["data"]["ssh_passphrase"] = {"command": ["cat", str(bed.folder / "phrase")]}
    file.write_text(yaml.safe_dump(defaults))
    assert bed.says("worker1") == "in"
    (bed.folder / "phrase").write_text("shut barley\n")
    assert bed.says("worker1") == "in"
    secrets.forget()
    assert "worker1: no SSH: its login key does not open: is the passphrase another one?" in bed.says(
        "worker1"
    )
