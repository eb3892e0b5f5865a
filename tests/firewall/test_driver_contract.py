"""What holds for every firewall driver, and that nothing but its own module knows its name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from nornir.core.inventory import Host

from tasks.firewall import registry
from tests.conftest import ROOT
from vpnmesh.doctor.judge import FEATURES
from vpnmesh.host.probes import PROBES

DRIVERS = registry.KNOWN_DRIVERS
SOURCES = [
    path
    for folder in ("vpnmesh", "tasks", "inventory", "workflows")
    for path in (ROOT / folder).rglob("*.py")
]


def test_one_driver_is_the_default() -> None:
    """A host that names none gets it."""
    (default,) = [driver for driver in DRIVERS.values() if driver.is_default]
    assert registry.driver_of(Host("firewall")) is default


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_says_what_it_needs(name: str) -> None:
    """Kernel features are ones that the doctor can ask for and knows a way to; an appliance asks for nothing."""
    driver = DRIVERS[name]
    assert driver.purpose
    assert set(driver.kernel_features) <= {probe.name for probe in PROBES} & FEATURES.keys()
    assert not (driver.is_appliance and (driver.programs or driver.kernel_features))


def decided_by_name(tree: ast.Module, names: frozenset[str]) -> Iterator[int]:
    """The lines where a driver's name decides something: compared, matched, looked up, or the default of a key."""
    for node in ast.walk(tree):
        parts: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Subscript):
            parts = [node.slice]
        elif isinstance(node, ast.Call) and any(_is(one, frozenset({registry.KEY})) for one in node.args):
            parts = list(node.args)
        elif isinstance(node, ast.BoolOp):
            parts = list(node.values)
        parts += [
            one for part in parts if isinstance(part, ast.Tuple | ast.List | ast.Set) for one in part.elts
        ]
        yield from (part.lineno for part in parts if _is(part, names))


def _is(node: ast.expr, names: frozenset[str]) -> bool:
    return isinstance(node, ast.Constant) and node.value in names


def named_at_all(tree: ast.Module, names: frozenset[str]) -> Iterator[int]:
    """The lines where a string is a driver's name and nothing else."""
    yield from (
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value in names
    )


def own(path: Path) -> bool:
    """Whether the module defines a driver, or is the pure half of one."""
    return "\nDRIVER = " in path.read_text() or (ROOT / "vpnmesh" / "firewall") in path.parents


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_no_other_module_names_a_driver(path: Path) -> None:
    """Names that are also a program's (`nftables`, `manual`) may be written, and decide nothing."""
    if own(path):
        return
    tree = ast.parse(path.read_text())
    alone = frozenset(name for name in DRIVERS if "-" in name)
    assert [*named_at_all(tree, alone), *decided_by_name(tree, frozenset(DRIVERS))] == []


@pytest.mark.parametrize(
    "line",
    [
        'host.get("firewall_driver", "nftables")',
        'x = name != "nftables"',
        'x = name in ("manual", "b")',
        'x = {}["manual"]',
        'x = "pfsense-rest"',
        'x = name or "nftables"',
    ],
)
def test_the_walk_sees_such_a_name(line: str) -> None:
    """It would see what it looks for."""
    tree = ast.parse(line)
    alone = frozenset(name for name in DRIVERS if "-" in name)
    assert [*named_at_all(tree, alone), *decided_by_name(tree, frozenset(DRIVERS))]
