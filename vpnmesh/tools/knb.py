"""Reads k8s-bench-suite (knb) JSON, whole or as that tool leaves it when a reading failed.

knb prints its JSON by `echo`: a reading that failed leaves the value empty (`"ram": ,`), and some
combinations of tests leave a comma before a brace. A CPU figure is percent of the whole machine (`sar`, all
cores), RAM is `free -m` (MiB), bandwidth is the receiver's Mbit/s as iperf3's text shows it. Where a reading
is missing, -1 (the mark that the authors of the paper filled in), zero, or not a number, the repetition
failed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from vpnmesh.documents.numbers import written_amount
from vpnmesh.errors import NO_JSON, ToolError
from vpnmesh.model import Condition

TOOL = "knb"
CPU_UNIT = "percent of the machine"
_EMPTY_VALUE = re.compile(r'("[\w-]+"\s*:)\s*(?:-?nan|-?inf)?\s*(?=[,}\]])', re.IGNORECASE)
_EXTRA_COMMA = re.compile(r",(?=\s*[}\]])")
_NEXT_RECORD = re.compile(r'\{\s*"metadata"\s*:')
_CONDITION = re.compile(r"loss(\d+(?:\.\d+)?)p.*?delay(\d+(?:\.\d+)?)(us|ms|s)?(?![a-z])")
_MS_PER = {None: 1.0, "us": 0.001, "ms": 1.0, "s": 1000.0}
_QUANTITY = re.compile(r"\s*(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([KMG]?)bits?/s(?:ec)?\s*", re.IGNORECASE)
_MBIT_PER = {"": 1e-6, "K": 1e-3, "M": 1.0, "G": 1e3}


@dataclass(frozen=True, slots=True)
class Load:
    """CPU in percent of the machine and RAM in MiB of one end; None = the tool had no such reading."""

    cpu_pct: float | None = None
    cpu_user_pct: float | None = None
    cpu_system_pct: float | None = None
    ram_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Repetition:
    """One attempt of one test; `problem` says why it is no measurement, None when it is one."""

    test: str
    name: str
    started_at: datetime | None
    pair: str
    rate_mbit_s: float | None
    client: Load
    server: Load
    problem: str | None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a knb file holds; `facts` are the machine's as the tool saw them (kernel, mtu, ...)."""

    repetitions: tuple[Repetition, ...]
    facts: frozenset[tuple[str, str]]
    other_sections: tuple[str, ...] = ()
    repaired: bool = False
    broken: tuple[str, ...] = ()


def condition_of(file_name: str) -> Condition | None:
    """The condition that a file's name states (`...-loss5p-delay0.json`), None if it states none."""
    found = _CONDITION.search(file_name)
    if not found:
        return None
    loss, delay, unit = found.groups()
    return Condition(loss_pct=float(loss), delay_ms=float(delay) * _MS_PER[unit])


def wanted_test(file_name: str) -> str | None:
    """The one test that a file's name promises, None for `all` and other names."""
    for mark, test in (("-p2ptcp-", "tcp"), ("-p2pudp-", "udp"), ("-idle-", "idle")):
        if mark in file_name:
            return test
    return None


def repair(text: str) -> str:
    """The text with empty values as null and without commas before a closing bracket."""
    return _EXTRA_COMMA.sub("", _EMPTY_VALUE.sub(r"\1 null", text))


def parse(text: str, test: str | None = None) -> Contents:
    """All repetitions in a file: a list, one record, or records one after another.

    `test` is what each record must hold (`wanted_test`); one without it is a failed repetition. ToolError if
    no record is knb's.
    """
    records, broken, repaired = _records(text)
    ours = [record for record in records if _is_knb(record)]
    if not ours:
        raise ToolError(TOOL, broken[0] if broken else _not_knb(records))
    if len(ours) < len(records):
        broken = (*broken, f"{len(records) - len(ours)} records of another tool")
    repetitions = tuple(entry for record in ours for entry in _repetitions(record, test))
    others = tuple(name for record in ours for name in _sections(record) if name == "pod2svc")
    facts = frozenset(fact for record in ours for fact in _facts(record))
    return Contents(repetitions, facts, others, repaired, broken)


def _records(text: str) -> tuple[list[object], tuple[str, ...], bool]:
    """The records, what could not be read, and whether the text had to be repaired."""
    text = text.lstrip("\ufeff").strip()
    if not text:
        return [], ("the file is empty",), False
    try:
        whole = json.loads(text)
    except NO_JSON:
        records, broken = _one_by_one(repair(text))
        return records, broken, True
    return (whole if isinstance(whole, list) else [whole]), (), False


def _one_by_one(text: str) -> tuple[list[object], tuple[str, ...]]:
    """Every record that can be read by itself; a cut or broken one is named by its offset."""
    decoder, records, broken = json.JSONDecoder(), list[object](), list[str]()
    starts = [found.start() for found in _NEXT_RECORD.finditer(text)]
    if not starts:
        return [], ("no JSON",)
    for start in starts:
        try:
            records.append(decoder.raw_decode(text, start)[0])
        except NO_JSON as error:
            broken.append(f"record {starts.index(start) + 1} is {_how_broken(error, text)}")
    return records, tuple(broken)


def _how_broken(error: BaseException, text: str) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return "broken (nested too deep, or a number that is too long)"
    return "cut off" if error.pos >= len(text) - 1 else f"broken ({error.msg})"


def _is_knb(record: object) -> bool:
    return isinstance(record, dict) and isinstance(record.get("data"), dict) and "metadata" in record


def _not_knb(records: list[object]) -> str:
    first = records[0] if records else None
    keys = (
        ", ".join(sorted(str(key)[:20] for key in first)[:4])
        if isinstance(first, dict)
        else type(first).__name__
    )
    return f"not a k8s-bench-suite result (found: {keys or 'nothing'})"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _sections(record: object) -> Mapping[str, object]:
    return _mapping(_mapping(record).get("data"))


def _facts(record: object) -> Iterator[tuple[str, str]]:
    metadata = _mapping(_mapping(record).get("metadata"))
    for name in ("cpu", "kernel", "k8s-version", "mtu"):
        value = _sections(record).get(name)
        if value not in (None, ""):
            yield name, str(value)
    if metadata.get("version"):
        yield "knb-version", str(metadata["version"])


def _repetitions(record: object, test: str | None) -> Iterator[Repetition]:
    """The tests of one record: idle, and TCP and UDP from pod to pod (pod-to-service is another question)."""
    sections = _sections(record)
    found = {"idle": sections["idle"]} if "idle" in sections else {}
    found |= {
        name: part for name, part in _mapping(sections.get("pod2pod")).items() if name in ("tcp", "udp")
    }
    if test is not None and test not in found:
        found[test] = None
    for name, section in found.items():
        yield _repetition(name, _mapping(_mapping(record).get("metadata")), section)


def _repetition(test: str, metadata: Mapping[str, object], section: object) -> Repetition:
    part = _mapping(section)
    client, server = _load(part.get("client")), _load(part.get("server"))
    rate, problem = (None, None) if test == "idle" else _rate(part.get("bandwidth"))
    if not part:
        problem = f"no {test} section"
    problem = problem or _missing(client, server)
    pair = f"{metadata.get('client-node', '')}>{metadata.get('server-node', '')}"
    return Repetition(
        test, str(metadata.get("name", "")), _date(metadata.get("date")), pair, rate, client, server, problem
    )


def _date(value: object) -> datetime | None:
    """The start as the tool wrote it; it names no zone, so UTC is assumed (only order and spans are used)."""
    try:
        return datetime.strptime(str(value), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _rate(value: object) -> tuple[float | None, str | None]:
    """Mbit/s and what is wrong with it; a text with its unit is converted."""
    if isinstance(value, str) and (found := _QUANTITY.fullmatch(value)):
        value = float(found[1]) * _MBIT_PER[found[2].upper()]
    rate = written_amount(value)
    if rate is None:
        shown = "is missing" if value in (None, "", -1) else f"'{value}' is no figure in Mbit/s"
        return None, f"bandwidth {shown}"
    return rate, None if rate > 0 else "bandwidth is 0"


def _load(value: object) -> Load:
    cpu = _mapping(_mapping(value).get("cpu"))
    # -1 marks a reading that failed
    return Load(
        written_amount(cpu.get("total")),
        written_amount(cpu.get("user")),
        written_amount(cpu.get("system")),
        written_amount(_mapping(value).get("ram")),
    )


def _missing(client: Load, server: Load) -> str | None:
    """The readings that failed: the paper's tables keep a repetition only if all four are above zero."""
    figures = {
        "client CPU": client.cpu_pct,
        "client RAM": client.ram_mb,
        "server CPU": server.cpu_pct,
        "server RAM": server.ram_mb,
    }
    missing = [name for name, figure in figures.items() if not figure]
    return f"no reading of {', '.join(missing)}" if missing else None
