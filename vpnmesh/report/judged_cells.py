"""What a gate says of each cell, and the same as JUnit XML, which every CI system can show."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, tostring


@dataclass(frozen=True, slots=True)
class JudgedCell:
    """One cell before a gate: failed, skipped (not judged), or passed; `told` are the figures behind it."""

    name: str
    group: str
    failed: str = ""
    skipped: str = ""
    told: str = ""


def junit(suite: str, cells: Sequence[JudgedCell]) -> str:
    """A test case per cell: a failure where it got worse, skipped where nothing can be said of it."""
    failures, skipped = (
        (sum(map(bool, found)) for found in zip(*map(_marks, cells), strict=True)) if cells else (0, 0)
    )
    counts = {"tests": str(len(cells)), "failures": str(failures), "errors": "0", "skipped": str(skipped)}
    root = Element("testsuites", {"name": "vpnmesh", **counts})
    one = SubElement(root, "testsuite", {"name": suite, **counts})
    for cell in cells:
        failed, skipped_why, told = (_printable(text) for text in (cell.failed, cell.skipped, cell.told))
        case = SubElement(
            one, "testcase", {"name": cell.name, "classname": f"{suite}.{cell.group}", "time": "0"}
        )
        if failed:
            SubElement(case, "failure", {"message": failed, "type": "slower"})
        elif skipped_why:
            SubElement(case, "skipped", {"message": skipped_why})
        if told:
            SubElement(case, "system-out").text = told
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _marks(cell: JudgedCell) -> tuple[str, str]:
    return cell.failed, "" if cell.failed else cell.skipped


def _printable(text: str) -> str:
    """Without what no XML may hold: a program's last words can be any bytes."""
    return "".join(one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}" for one in text)
