"""Files that are no inventory: whoever reads them says in one sentence where and what, with exit code 2."""

import contextlib
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from inventory.documents import read_folder
from inventory.load import load
from tests.inventory.test_bad_inventory import LAB
from vpnmesh.criteria.parse import parse
from vpnmesh.documents.yaml_text import MOST_NESTED, parse_yaml
from vpnmesh.errors import InputError
from vpnmesh.lab.__main__ import main as lab
from vpnmesh.lab.inventory_files import read_testbed
from workflows.full_matrix import main as full_matrix
from workflows.inventory import main as inventory
from workflows.reporting.comparing import read_gate

READERS = {
    "nornir": lambda folder: load(str(folder)),
    "documents": read_folder,
    "lab": read_testbed,
}
FILES = ("hosts.yaml", "groups.yaml", "defaults.yaml")
# ten times ten times ...: a gigabyte of values in half a kilobyte
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
TWICE = "worker1: {hostname: 10.0.0.1}\nworker2: {hostname: 10.0.0.2}\nworker1: {hostname: 10.0.0.3}\n"
UGLY: dict[str, tuple[bytes, str]] = {
    "binary": (bytes(range(128, 256)) * 8, "line 1: no text: byte 0x80 is no UTF-8"),
    "a program": (b"\x7fELF\x02\x01\x01\x00\x00", "line 1: no text: a NUL byte"),
    "UTF-16": ("a: {}\n".encode("utf-16"), "no UTF-8"),
    "a NUL in the third line": (b"a: {}\nb: {}\nc: \0\n", "line 3: no text: a NUL byte"),
    "another control character": (b"a: \x07\n", "no YAML: unacceptable character"),
    "a bomb": (BOMB.encode(), "its aliases add more than 100,000 values"),
    "an alias of itself": (b"a: &a {data: *a}\n", "a: data: an alias of what it is part of"),
    "a key twice": (TWICE.encode(), "worker1: line 3: the key is there twice"),
    "a key twice inside": (b"a: {data: {x: 1, x: 2}}\n", "a: data: x: line 1: the key is there twice"),
    "very deep": (b"[" * 3000 + b"]" * 3000, f"nested deeper than {MOST_NESTED} levels"),
    "deep": (b"[" * 60 + b"]" * 60, f"nested deeper than {MOST_NESTED} levels"),
    "a date that is none": (b"a: {data: {since: 2026-13-45}}\n", "a value that cannot be read"),
    "a long number": (b"a: {port: " + b"9" * 5000 + b"}\n", "a value that cannot be read"),
    "two documents": (b"a: {}\n---\nb: {}\n", "no YAML: expected a single document"),
    "a tag of Python's": (b"a: !!python/object/apply:os.system [true]\n", "no YAML: could not determine"),
    "a list": (b"- a\n", "is not a mapping"),
    "a word": (b"hello", "is not a mapping"),
}
SHAPES: dict[str, tuple[str, str]] = {
    "name is a number": ("1: {}\n", "hosts.yaml: 1: the name is no text; write it in quotes"),
    "name is a switch": ("on: {}\n", "hosts.yaml: True: the name is no text"),
    "entry is a list": ("a: [1]\n", "hosts.yaml: a: is not a mapping"),
    "unknown key": ("a: {gropus: []}\n", "hosts.yaml: a: gropus: unknown key; known are: hostname, port"),
    "hostname is a number": ("a: {hostname: 7}\n", "hosts.yaml: a: hostname: '7' is not text"),
    "port is a word": ("a: {port: ssh}\n", "hosts.yaml: a: port: 'ssh' is not a number"),
    "port is a switch": ("a: {port: true}\n", "hosts.yaml: a: port: 'True' is not a number"),
    "port is too great": ("a: {port: 70000}\n", "hosts.yaml: a: port: 70000 is no port"),
    "groups is a word": ("a: {groups: x}\n", "hosts.yaml: a: groups: 'x' is not a list"),
    "a group is a number": ("a: {groups: [7]}\n", "hosts.yaml: a: groups: '7' is no text"),
    "data is a list": ("a: {data: [1]}\n", "hosts.yaml: a: data: '[1]' is not a mapping"),
    "a datum without a name": ("a: {data: {7: x}}\n", "hosts.yaml: a: data: '7' is no text"),
    "no options": ("a: {connection_options:}\n", "a: connection_options: 'None' is not a mapping"),
    "options are a list": ("a: {connection_options: []}\n", "a: connection_options: '[]' is not a mapping"),
    "an option is a word": ("a: {connection_options: {netmiko: x}}\n", "netmiko: is not a mapping"),
    "unknown option": (
        "a: {connection_options: {netmiko: {extra: {}}}}\n",
        "a: connection_options: netmiko: extra: unknown key",
    ),
    "extras is a word": (
        "a: {connection_options: {netmiko: {extras: x}}}\n",
        "netmiko: extras: 'x' is not a mapping",
    ),
}


def lab_inventory(folder: Path) -> Path:
    """A copy of the lab's inventory."""
    for name in FILES:
        (folder / name).write_text((LAB / name).read_text())
    return folder


def refused(reader: str, folder: Path) -> str:
    """What the reader says of the folder, in one line."""
    with pytest.raises(InputError) as caught:
        READERS[reader](folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("case", UGLY)
def test_an_ugly_file_is_one_sentence_with_its_name(
    case: str, file: str, reader: str, tmp_path: Path
) -> None:
    """Bytes, control characters, bombs, twins: the file, the place in it, and what it is."""
    data, words = UGLY[case]
    folder = lab_inventory(tmp_path)
    (folder / file).write_bytes(data)
    said = refused(reader, folder)
    assert said.startswith(str(folder / file))
    assert words in said


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", SHAPES)
def test_an_entry_of_another_shape_is_named(case: str, reader: str, tmp_path: Path) -> None:
    """Where Nornir would end in a traceback, or take a word for a list of letters: file, host and key."""
    text, words = SHAPES[case]
    folder = lab_inventory(tmp_path)
    (folder / "hosts.yaml").write_text(text)
    assert words in refused(reader, folder)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("file", FILES)
def test_a_folder_or_nothing_in_place_of_a_file(file: str, reader: str, tmp_path: Path) -> None:
    """A directory of that name cannot be read, a missing file is missing."""
    folder = lab_inventory(tmp_path)
    (folder / file).unlink()
    gone = refused(reader, folder)
    assert "hosts.yaml" in gone or "missing" in gone
    (folder / file).mkdir()
    assert "hosts.yaml" in (said := refused(reader, folder)) or "Is a directory" in said


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_may_not_be_read_is_said(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the system's reason is, it is in the sentence; root is refused nothing, so it is made up here."""

    def forbidden(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    assert refused(reader, lab_inventory(tmp_path)).endswith("hosts.yaml: cannot be read: Permission denied")


@pytest.mark.parametrize("reader", READERS)
def test_a_group_inside_itself_is_refused(reader: str, tmp_path: Path) -> None:
    """Two groups that are in each other have no end of data."""
    folder = lab_inventory(tmp_path)
    groups = folder / "groups.yaml"
    groups.write_text(groups.read_text() + "one: {groups: [other]}\nother: {groups: [one]}\n")
    assert "groups.yaml: one: groups: the group is inside itself" in refused(reader, folder)


@pytest.mark.parametrize("reader", READERS)
def test_aliases_and_merges_as_people_use_them_are_read(reader: str, tmp_path: Path) -> None:
    """An anchor for common data is good YAML."""
    folder = lab_inventory(tmp_path)
    hosts = (folder / "hosts.yaml").read_text()
    before = "data: {testbed: true, kind: netns, underlay: 192.88.99.10/29, interface: eth0}"
    assert before in hosts
    hosts = hosts.replace(
        before, "data: &worker {testbed: true, kind: netns, underlay: 192.88.99.10/29, interface: eth0}"
    )
    hosts = hosts.replace(
        "data: {testbed: true, kind: netns, underlay: 192.88.99.18/29, interface: eth0}",
        "data: {<<: *worker, underlay: 192.88.99.18/29}",
    )
    assert "<<: *worker" in hosts
    (folder / "hosts.yaml").write_text(hosts)
    READERS[reader](folder)
    assert read_testbed(folder) == read_testbed(LAB)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (full_matrix, ("--plan", "--inventory")),
        (inventory, ("validate",)),
        (lab, ("up", "--inventory")),
    ],
    ids=["full_matrix", "inventory", "lab"],
)
@pytest.mark.parametrize("case", ["binary", "a bomb", "very deep", "a key twice"])
def test_commands_end_with_exit_code_2(
    case: str, command: object, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """No traceback, nothing on stdout that could be taken for a result."""
    folder = lab_inventory(tmp_path)
    (folder / "hosts.yaml").write_bytes(UGLY[case][0])
    done = CliRunner().invoke(command, [*arguments, str(folder)])  # type: ignore[arg-type]
    assert (done.exit_code, len(done.stderr.strip().splitlines())) == (2, 1), done.output
    assert str(folder / "hosts.yaml") in done.stderr


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "/dev/null"])
def test_a_name_that_is_no_folder(name: str) -> None:
    """Too long for the system, a NUL in it, no folder: one sentence."""
    with pytest.raises(InputError, match="--inventory"):
        load(name)


@pytest.mark.parametrize("case", UGLY)
def test_a_gate_and_criteria_are_read_by_the_same_rules(case: str, tmp_path: Path) -> None:
    """The other two kinds of YAML files that somebody may write."""
    data, words = UGLY[case]
    path = tmp_path / "gate.yaml"
    path.write_bytes(data)
    with pytest.raises(InputError, match="--gate") as caught:
        read_gate(path)
    assert "\n" not in str(caught.value)
    if words != "is not a mapping":
        assert words in str(caught.value)
        with pytest.raises(InputError, match=r"criteria\.yaml"):
            parse(data.decode("latin-1"))


@given(st.binary(max_size=200) | st.text(alphabet="ab:- []{}&*!|>'\"%?,\n\t#<", max_size=60).map(str.encode))
@example(b"? [a]\n: b\n")
@example(b"%YAML 9.9\n---\na\n")
@example(b"<<: 3\n")
@example(b"a: !!binary =\n")
@example(b"a: !!set {x, x}\n")
@example(b"a: !!omap [1]\n")
def test_no_bytes_at_all_are_more_than_one_sentence(data: bytes) -> None:
    """Whatever is in the file: a value, or InputError with the place."""
    with contextlib.suppress(InputError):
        parse_yaml(data, "x.yaml")
