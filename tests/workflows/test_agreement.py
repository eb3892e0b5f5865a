"""The first time on real hosts every change is listed and needs a yes, which is kept for these hosts and changes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from inventory.load import load
from inventory.marks import NotMarkedError
from vpnmesh.errors import InputError
from vpnmesh.model import NodeKind
from vpnmesh.study.changes import Change, ChangeKind
from workflows.__main__ import COMMANDS, LazyGroup
from workflows.run.agreement import Intent, may_change, yes_option
from workflows.run.site import Site

UNDOING = {"teardown", "cluster down"}
"""Commands that only take away what ours made, of which each said yes when it was made."""
NOT_NODES = {"inventory seed"}
"""Commands whose dry run is about something else than nodes."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state directory."""
    monkeypatch.setenv("VPNMESH_STATE_DIR", str(tmp_path))
    return tmp_path


def marked(name: str = "baremetal") -> Site:
    """The hosts of an inventory, all marked."""
    nr, bed = load(name)
    for host in nr.inventory.hosts.values():
        host.data["testbed"] = True
    return Site(nr, bed)


def intent(name: str, *files: str) -> Intent:
    """Something that would write these files."""
    return Intent(name, lambda: [Change(ChangeKind.FILES, "worker1", file) for file in files])


def asked(site: Site, *intents: Intent, options: tuple[str, ...] = ()) -> str:
    """What a command with these options prints; InputError where it was refused."""

    @click.command()
    @yes_option
    def command() -> None:
        may_change(site, "my-testbed", intents)

    done = CliRunner().invoke(command, options)
    if isinstance(done.exception, InputError):
        raise done.exception
    assert done.exception is None
    return done.output


def test_without_a_yes_nothing_happens(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence has the way out, and nothing is remembered."""
    with pytest.raises(
        InputError, match=r"--yes: nobody agreed to these changes, and nothing was changed; .*--yes"
    ):
        asked(marked(), intent("one", "/etc/x"))
    assert not list(state.rglob("*.json"))
    capsys.readouterr()


def test_a_yes_is_asked_for_once(state: Path) -> None:
    """The changes are listed by kind, hosts and things; the second time nothing is printed, and nothing read."""
    shown = asked(marked(), intent("scenario native-1450", "/etc/x", "/etc/y"), options=("--yes",))
    assert "first time that this is done on the hosts of my-testbed" in shown
    assert "worker1: /etc/x; /etc/y" in shown
    assert "packages: none" in shown

    def unread() -> Iterator[Change]:
        raise AssertionError("it was read again")

    assert asked(marked(), Intent("scenario native-1450", unread)) == ""
    (kept,) = state.rglob("*.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert list(json.loads(kept.read_bytes())["agreed"]) == ["scenario native-1450"]


def test_only_what_is_new_is_asked_for(state: Path) -> None:
    """A further change, and not those that were agreed to."""
    asked(marked(), intent("one", "/etc/one"), options=("--yes",))
    shown = asked(marked(), intent("one", "/etc/one"), intent("two", "/etc/two"), options=("--yes",))
    assert "/etc/two" in shown
    assert "/etc/one" not in shown
    assert asked(marked(), intent("two")) == asked(marked(), intent("one")) == ""


@pytest.mark.parametrize("change", ["address", "port", "more"])
def test_other_hosts_are_asked_for_anew(state: Path, change: str) -> None:
    """Another address or port under a known name is another machine; one host more is another testbed."""
    asked(marked(), intent("one"), options=("--yes",))
    other = marked()
    hosts = other.nr.inventory.hosts
    if change == "address":
        hosts["relay"].hostname = "192.0.2.77"
    elif change == "port":
        hosts["relay"].port = 2222
    else:
        nodes = other.testbed.nodes
        hosts["worker9"] = hosts["relay"].__class__("worker9", "192.0.2.9", data={"testbed": True})
        other.testbed = replace(other.testbed, nodes=(*nodes, replace(nodes[-1], name="worker9")))
    with pytest.raises(InputError, match="nobody agreed"):
        asked(other, intent("one"))


def test_a_file_that_is_none_of_ours_is_as_none(state: Path) -> None:
    """Whatever became of it: it is asked once more."""
    asked(marked(), intent("one"), options=("--yes",))
    (kept,) = state.rglob("*.json")
    for broken in ("", "[1]", '{"agreed": 1}', "{" * 5000):
        kept.write_text(broken)
        with pytest.raises(InputError, match="nobody agreed"):
            asked(marked(), intent("one"))


def test_a_lab_is_never_asked_for(state: Path) -> None:
    """Its nodes are nobody's, and their changes go with it."""
    nr, bed = load("lab")
    assert {node.kind for node in bed.nodes} == {NodeKind.NETNS}
    assert asked(Site(nr, bed), intent("one", "/etc/x")) == ""
    assert not list(state.rglob("*.json"))


def test_a_host_without_the_mark_comes_first(state: Path) -> None:
    """Also with a yes, and in a lab: no answer stands in for the mark."""
    for name in ("baremetal", "lab"):
        site = marked(name)
        del site.nr.inventory.hosts["worker2"].data["testbed"]
        with pytest.raises(NotMarkedError, match=r"^worker2: is not marked as testbed"):
            asked(site, intent("one"), options=("--yes",))


def commands(group: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command below that one, by its words."""
    if not isinstance(group, click.Group):
        yield " ".join(words), group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield from commands(found, (*words, name))


def test_every_command_that_changes_nodes_takes_a_yes() -> None:
    """A command that can only show what it would change can also change: it asks, unless it only takes back."""
    found = {name: {one.name for one in command.params} for name, command in commands(LazyGroup())}
    assert set(COMMANDS) <= {name.partition(" ")[0] for name in found}
    changing = {name for name, names in found.items() if "dry_run" in names} - UNDOING - NOT_NODES
    assert {"matrix", "cluster up", "impair", "firewall set"} <= changing
    assert {name for name in changing if "yes" not in found[name]} == set()
