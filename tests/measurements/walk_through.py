"""The module that docs/add-a-measurement.md shows, out of the document itself."""

import re
import types

from tests.conftest import ROOT
from vpnmesh.measurements.protocol import Measurement

DOCUMENT = ROOT / "docs" / "add-a-measurement.md"


def shown(language: str = "python") -> str:
    """The first text of that language in the document."""
    pattern = rf"^```{language}\n(.*?)^```$"
    return str(re.findall(pattern, DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[0])


def measurement() -> Measurement:
    """What it defines, as it would be registered."""
    module = types.ModuleType("tcp_connect")
    exec(compile(shown(), str(DOCUMENT), "exec"), module.__dict__)
    made: Measurement = module.MEASUREMENT
    return made
