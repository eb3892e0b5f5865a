"""What is plugged in is found by name, in one order; what cannot be used is one sentence that names the place."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.registry import Registry, discover

GROUP = "vpnmesh.tools-of-a-test"
ONE = "class One:\n    def __init__(self, name): self.name = name\n    def work(self): return self.name\n"

Write = Callable[[str, str], None]


class Tool(Protocol):
    """What these tests look for."""

    @property
    def name(self) -> str:
        """Its name."""

    def work(self) -> str:
        """What it does."""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module, of the package `plugged` unless it has a dot; all are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "plugged").mkdir()
    (tmp_path / "plugged" / "__init__.py").write_text("")
    yield lambda name, text: _write(tmp_path, name, ONE + text)
    for name in [name for name in sys.modules if name.split(".")[0] in {"plugged", "elsewhere"}]:
        del sys.modules[name]


def _write(folder: Path, name: str, text: str) -> None:
    path = folder / (f"{name}.py" if name == "elsewhere" else f"plugged/{name}.py")
    path.write_text(text)


def _install(folder: Path, *lines: str) -> None:
    """What a package manager leaves of a package with entry points."""
    info = folder / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))


def found() -> dict[str, Tool]:
    """As a registry looks for its own."""
    return discover("plugged", "TOOL", GROUP, Tool)


def test_modules_come_by_name_and_then_entry_points_by_name(write: Write, tmp_path: Path) -> None:
    write("b", "TOOL = One('zebra')")
    write("a", "TOOLS = (One('second'), One('first'))")
    write("helper", "")
    write("elsewhere", "TOOLS = [One('mine'), One('yours')]\nTOOL = One('ours')")
    _install(tmp_path, "y = elsewhere:TOOLS", "x = elsewhere:TOOL")
    tools = found()
    assert list(tools) == ["second", "first", "zebra", "ours", "mine", "yours"]
    assert tools["ours"].work() == "ours"


def test_a_thing_that_two_modules_show_is_one_thing(write: Write) -> None:
    write("a", "TOOL = One('one')")
    write("b", "from plugged.a import TOOL")
    assert list(found()) == ["one"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "TOOL = One('same')",
            "plugged.b: the name 'same' is taken by plugged.a; give one of them another name",
        ),
        ("TOOL = One('Not A Slug')", "plugged.b: its name is 'Not A Slug'; set `name` to lower-case letters"),
        ("TOOL = object()", "plugged.b: its name is None; set `name` to lower-case letters"),
        (
            "class Two:\n    name = 'two'\nTOOL = Two()",
            "plugged.b: 'two' is no Tool: it lacks work; see Tool's docstring",
        ),
    ],
)
def test_what_cannot_be_used_names_its_module(text: str, said: str, write: Write) -> None:
    write("a", "TOOL = One('same')")
    write("b", text)
    with pytest.raises(InputError) as caught:
        found()
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("nowhere_at_all:TOOL", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("elsewhere:NOTHING", "AttributeError: module 'elsewhere' has no attribute 'NOTHING'"),
    ],
)
def test_an_entry_point_that_cannot_be_loaded_names_its_package(
    value: str, problem: str, write: Write, tmp_path: Path
) -> None:
    write("elsewhere", "TOOL = One('mine')")
    _install(tmp_path, f"broken = {value}")
    with pytest.raises(InputError) as caught:
        found()
    assert str(caught.value) == (
        f"entry point broken of {GROUP}: {value} cannot be loaded: {problem}; "
        "mend or uninstall the package elsewhere"
    )


def test_an_entry_point_takes_no_name_of_the_tree(write: Write, tmp_path: Path) -> None:
    write("a", "TOOL = One('same')")
    write("elsewhere", "TOOL = One('same')")
    _install(tmp_path, "mine = elsewhere:TOOL")
    with pytest.raises(
        InputError, match=f"entry point mine of {GROUP}: the name 'same' is taken by plugged.a"
    ):
        found()


def test_a_registry_looks_when_it_is_asked(write: Write) -> None:
    registry: Registry[Tool] = Registry("plugged", "TOOL", GROUP, Tool, word="tool")
    write("a", "TOOL = One('one')")
    assert registry.named("one") is registry["one"]
    registry["two"] = registry["one"]
    assert list(registry) == ["one", "two"]
    with pytest.raises(UnknownNameError, match="--tools: unknown tool 'three'; known are: one, two"):
        registry.named("three", "--tools")
