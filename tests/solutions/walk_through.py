"""The module that docs/add-a-solution.md shows, out of the document itself."""

import re
import types

from tests.conftest import ROOT
from vpnmesh.model import Path, Scenario
from vpnmesh.solutions.protocol import Solution

DOCUMENT = ROOT / "docs" / "add-a-solution.md"
SCENARIO = Scenario(
    "plainvxlan-direct", "plainvxlan", Path.DIRECT, 1230, 1280, "allow-all", "VXLAN in the kernel"
)


def shown() -> str:
    """The first Python text of the document."""
    blocks = re.findall(
        r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return str(blocks[0])


def solution() -> Solution:
    """What it defines, as it would be registered."""
    module = types.ModuleType("plainvxlan")
    exec(compile(shown(), str(DOCUMENT), "exec"), module.__dict__)
    made: Solution = module.SOLUTION
    return made
