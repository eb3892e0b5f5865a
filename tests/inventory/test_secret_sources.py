"""Where secrets come from: variables, commands, a terminal; and inventories that have one in the clear."""

import contextlib
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from nornir.core.inventory import Defaults, Group, Groups, Host, Hosts, Inventory

from inventory import secrets
from inventory.clear_secrets import refuse_clear_secrets
from inventory.load import load
from inventory.netbox_client import NetBox
from inventory.secrets import Source, Way, learned, secret_of
from tasks.firewall.pfsense_api import access
from tests.terminal import read_until
from vpnmesh.errors import InputError
from vpnmesh.masks import masked

LAB = Path(__file__).resolve().parents[2] / "inventory" / "lab"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Nothing was asked before."""
    secrets.forget()
    before = set(learned)
    yield
    secrets.forget()
    learned.intersection_update(before)


def host(**data: object) -> Host:
    """A host with this data."""
    return Host("worker1", hostname="192.0.2.1", data=data, defaults=Defaults())


def counting(tmp_path: Path, rest: str) -> list[str]:
    """A command that leaves a line for every time it is run."""
    program = tmp_path / "pass"
    program.write_text(f'#!/bin/sh\necho run >> {tmp_path}/runs\necho "$#: $*" > {tmp_path}/argv\n{rest}\n')
    program.chmod(0o755)
    return [str(program), "show", "lab; touch $HOME"]


def test_a_command_is_an_argv_asked_once_for_all_and_masked(tmp_path: Path) -> None:
    """Its words reach it as they are, its first line is the secret, and what is kept has a mask in its place."""
    asked = {"command": counting(tmp_path, "echo 'open, sesame'; echo user: me")}
    found = [secret_of(host(sudo_password=asked), key) for key in ("sudo_password", "sudo_password")]
    assert [one.reveal() for one in found if one] == ["open, sesame"] * 2
    assert (tmp_path / "runs").read_text() == "run\n"
    assert (tmp_path / "argv").read_text() == "2: show lab; touch $HOME\n"
    assert "sesame" not in masked("it said: open, sesame", learned)
    assert "sesame" not in repr(found)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("echo half of it; echo gpg: no key hunter2 >&2; exit 2", "failed (exit code 2); try it by hand"),
        ("", "printed no text"),
        (r"printf '\377\376\n'", "printed no text"),
        ("sleep 30 & sleep 30", "gave nothing within 0.3 s"),
    ],
)
def test_a_command_that_gives_nothing_is_one_sentence(
    tmp_path: Path, rest: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host and the key are named, what the command said is not repeated, and nobody asks it a second time."""
    monkeypatch.setattr(secrets, "COMMAND_S", 0.3 if "sleep" in rest else 60)
    one = host(sudo_password={"command": counting(tmp_path, rest)})
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(InputError) as refused:
            secret_of(one, "sudo_password")
        assert str(refused.value).startswith("worker1: sudo_password: the command ")
        assert said in str(refused.value)
        assert "hunter2" not in str(refused.value)
    assert (tmp_path / "runs").read_text() == "run\n"
    assert time.monotonic() - started < 20


def test_a_missing_program_and_a_missing_variable_are_named() -> None:
    """What to do is in the sentence."""
    with pytest.raises(InputError, match=r"the command no-such-program does not start: No such file"):
        secret_of(host(k={"command": ["no-such-program"]}), "k")
    with pytest.raises(InputError, match=r"worker1: k: the environment has no NOT_THERE; export NOT_THERE"):
        secret_of(host(k={"env": "NOT_THERE"}), "k")
    with pytest.raises(InputError, match="does not say where the secret comes from") as refused:
        secret_of(host(k={"from": "hunter2"}), "k")
    assert "hunter2" not in str(refused.value)


ASK = """
from nornir.core.inventory import Defaults, Host
from inventory.secrets import secret_of
hosts = [Host(name, data={"sudo_password": {"prompt": "sudo on the lab"}}, defaults=Defaults()) for name in "ab"]
try:
    print([len(secret_of(host, "sudo_password").reveal()) for host in hosts])
except Exception as error:
    print(type(error).__name__, error)
"""


@contextlib.contextmanager
def at_terminal() -> Iterator[tuple[int, int]]:
    """A process with a terminal of its own: its id, and our end of the terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = str(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", ASK])
    try:
        yield pid, terminal
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


@pytest.mark.slow
def test_a_prompt_is_shown_once_and_its_answer_never() -> None:
    """Two hosts with the same prompt: one question at a real terminal, whose answer is not echoed."""
    with at_terminal() as (_, terminal):
        assert read_until(terminal, "sudo on the lab: ").endswith("sudo on the lab: ")
        os.write(terminal, b"hunter2\n")
        rest = read_until(terminal, "]")
    assert "[7, 7]" in rest
    assert "hunter2" not in rest
    assert "sudo on" not in rest


@pytest.mark.slow
def test_where_there_is_no_terminal_a_prompt_is_refused() -> None:
    """A job of cron or CI gets a sentence with the other ways, though its input has a line."""
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input="hunter2\n",
        capture_output=True,
        text=True,
        start_new_session=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        check=True,
    )
    said = "InputError a: sudo_password: there is no terminal to ask at; use {env: NAME} or {command: "
    assert done.stdout.startswith(said), done.stderr


def changed(tmp_path: Path, part: str, change: dict[str, Any]) -> str:
    """The lab's inventory with one entry changed: a host's, or the defaults'."""
    for name in ("hosts", "groups", "defaults"):
        content = yaml.safe_load((LAB / f"{name}.yaml").read_text())
        if name == "hosts" and part == "hosts":
            data = content["relay"]["data"] | change.pop("data", {})
            content["relay"] |= {**change, "data": data}
        elif name == part:
            content |= change
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("part", "change", "key", "way_out"),
    [
        ("hosts", {"password": "hunter2"}, "relay: password", "below ssh_password in the host's data"),
        ("defaults", {"password": "hunter2"}, "defaults: password", "below ssh_password"),
        ("hosts", {"data": {"sudo_password": "hunter2"}}, "relay: data.sudo_password", "{command: [PROGRAM"),
        ("hosts", {"data": {"sudo_password": 271828}}, "relay: data.sudo_password", "{prompt: TEXT}"),
        ("hosts", {"data": {"api": {"token": "hunter2"}}}, "relay: data.api.token", "{env: NAME}"),
        ("hosts", {"data": {"note": "-----BEGIN PRIVATE KEY-----\nhunter2"}}, "relay: data.note", "{env"),
        (
            "hosts",
            {"connection_options": {"netmiko": {"extras": {"passphrase": "hunter2"}}}},
            "relay: connection_options.netmiko.extras.passphrase",
            "below ssh_passphrase",
        ),
        ("hosts", {"data": {"sudo_password": {"comand": ["pass"]}}}, "", ""),
    ],
)
def test_a_secret_in_yaml_is_refused_by_name(
    tmp_path: Path, part: str, change: dict[str, Any], key: str, way_out: str
) -> None:
    """File, host and key and the way out are said, and the secret is not; what only names a source is taken."""
    folder = changed(tmp_path, part, change)
    if not key:
        load(folder)
        return
    with pytest.raises(InputError, match="a secret in the clear") as refused:
        load(folder)
    assert f"hosts.yaml: {key}: " in str(refused.value)
    assert way_out in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_what_names_a_source_is_taken_from_yaml(tmp_path: Path) -> None:
    """Nothing is asked while the inventory is read."""
    data = {
        "sudo_password": {"command": ["false"]},
        "ssh_password": {"prompt": "x"},
        "pfsense_key": {"env": "X"},
    }
    load(changed(tmp_path, "hosts", {"data": data}))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"command": ["curl", "evil"]}, "a command from NetBox, which is not run here"),
        ({"env": "AWS_SECRET_ACCESS_KEY"}, "a variable of NetBox's choosing"),
        ("hunter2", "a secret in the clear"),
        ({"env": "VPNMESH_SUDO"}, ""),
        ({"prompt": "sudo"}, ""),
    ],
)
def test_netbox_decides_neither_what_runs_here_nor_which_variable_is_sent(value: object, said: str) -> None:
    """Whoever may write to NetBox must not get a command run on the controller."""
    groups = Groups(lab=Group("lab", data={"sudo_password": value}))
    inventory = Inventory(hosts=Hosts(), groups=groups, defaults=Defaults())
    if not said:
        refuse_clear_secrets(inventory, "netbox", shared=True)
        return
    with pytest.raises(InputError, match=said):
        refuse_clear_secrets(inventory, "netbox", shared=True)


def test_pfsense_and_netbox_take_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API key from a command; NetBox's token from the command in a variable, split without a shell."""
    monkeypatch.delenv("NETBOX_TOKEN", raising=False)
    monkeypatch.setenv("NETBOX_URL", "https://netbox.example.org")
    argv = counting(tmp_path, "echo t0ken-for-both")
    assert access(host(pfsense_key={"command": argv})).key.reveal() == "t0ken-for-both"
    monkeypatch.setenv("NETBOX_TOKEN_COMMAND", f"{argv[0]} show 'lab; touch'")
    assert NetBox.from_environment().api.token == "t0ken-for-both"
    assert (tmp_path / "argv").read_text() == "2: show lab; touch\n"
    monkeypatch.setenv("NETBOX_TOKEN_COMMAND", "pass 'unfinished")
    with pytest.raises(InputError, match="NETBOX_TOKEN_COMMAND: is no command"):
        NetBox.from_environment()


def test_a_source_does_not_show_more_than_its_first_word() -> None:
    """A command's arguments could be a secret, too."""
    assert str(Source(Way.COMMAND, ("pass", "hunter2"))) == "command pass"
