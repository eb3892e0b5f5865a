"""No module but a solution's own names a solution: what others need of one is an attribute of it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from vpnmesh.solutions import SOLUTIONS

PRODUCTS = ("tailscale", "tailscaled", "derper", "netclient", "wt0")
"""Names that belong to one solution without being its name."""
TEXTS = {"wg"}
"""Such names that are part of other words: only a whole text counts."""
EXCEPTIONS = {
    # the kernel's own names of link kinds (ip-link(8)), which solutions refer to
    "vpnmesh/host/links.py": "WireGuard is a kind of link of the kernel",
    "vpnmesh/host/probes.py": "whether this kernel has that kind of link",
    # names of columns in tables that are published
    "vpnmesh/reference/__init__.py": "columns of the paper's tables",
}
"""Modules that may name solutions, and why."""
WORDS = re.compile(rf"(?<![a-z0-9])({'|'.join((*SOLUTIONS, *PRODUCTS))})(?![a-z])", re.IGNORECASE)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
MODULES = sorted(
    path
    for folder in ("vpnmesh", "tasks", "workflows", "inventory")
    for path in (ROOT / folder).rglob("*.py")
    if not path.is_relative_to(ROOT / "vpnmesh" / "solutions")
)


def named(source: str) -> list[str]:
    """Every constant and identifier of a module that names a solution, with its line; docstrings are apart."""
    tree = ast.parse(source)
    words = set(_docstrings(tree))
    return [
        f"{getattr(node, 'lineno', 0)}: {text}"
        for node in ast.walk(tree)
        if id(node) not in words
        for text in _texts(node)
        if is_name(text)
    ]


def is_name(text: str) -> bool:
    """Whether a constant or identifier holds a solution's name, also as a part of `snake_case` and `CamelCase`."""
    plain = text.replace("_", " ")
    return text in TEXTS or any(WORDS.search(form) for form in (plain, _HUMP.sub(" ", plain)))


def _docstrings(tree: ast.AST) -> Iterator[int]:
    """Texts that are statements of their own: docstrings, also those of constants and fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield id(node.value)


def _texts(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.Name(id=text) | ast.arg(arg=text) | ast.keyword(arg=str() as text) | ast.alias(name=text):
            yield text
        case ast.Attribute(attr=text):
            yield text
        case ast.FunctionDef(name=text) | ast.ClassDef(name=text):
            yield text


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_module_names_a_solution(path: Path) -> None:
    """A new VPN, or one less, changes none of them."""
    found = named(path.read_text(encoding="utf-8"))
    if str(path.relative_to(ROOT)) not in EXCEPTIONS:
        assert found == []


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_is_needed(name: str) -> None:
    """A module that no longer names a solution is no exception any more."""
    assert named((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        'POLICY = {"nebula": 1}',
        'name = "wireguard-direct"',
        "if solution == f'{x}-native-1450': pass",
        "import vpnmesh.solutions.netbird",
        "from vpnmesh.solutions.zerotier import ZeroTier",
        "class HeadscaleRow: pass",
        "def run_tailscale(): pass",
        "call(wt0=1)",
        'Program("wg")',
    ],
)
def test_a_name_is_found_wherever_it_is(source: str) -> None:
    """Constants, parts of f-strings, imports, classes, functions, keywords."""
    assert named(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Nebula."""',
        'x = "wg-quick"',
        'x = 1\n"""WireGuard\'s."""',
        "# netbird",
        'x = "alternative"',
        'x = "nativeness"',
    ],
)
def test_words_for_people_are_apart(source: str) -> None:
    """Docstrings, comments, and words that only contain a name."""
    assert named(source) == []
