"""Names and words of an attacker: no shell runs them, no file outside of the run holds them, no page obeys them.

What inventories, scenarios and results can hold as free text is put where it is used: into scripts that a real shell
runs with a canary beside them, into paths, into pages that a real parser reads, and onto a terminal.
"""

import contextlib
import csv
import io
import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
from click.testing import CliRunner, Result

from tasks.script import rendered
from tests.fuzz import documents, mutation, runs
from tests.fuzz.node_output import lab
from tests.fuzz.target import Case, Target
from tests.golden.goldens import blank
from vpnmesh.documents.names import interface_problem, line_problem, title_problem
from vpnmesh.errors import VpnmeshError
from vpnmesh.frames.schemas import SCHEMA_VERSION
from vpnmesh.model import Leg, Testbed
from vpnmesh.plan import Command, Plan, WriteFile, reveal
from vpnmesh.report.compose import compose
from vpnmesh.report.figures import figures
from vpnmesh.report.render import render_html, render_markdown
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import SCENARIOS
from workflows.inventory import main as inventory
from workflows.report import main as report
from workflows.reporting.presenting import FORMULA, harmless
from workflows.reporting.studies import study_from_run
from workflows.run.store import Store, StoreError

Words = tuple[str, ...]
CANARY = "canary"
EVIL = tuple(one for one in mutation.HOSTILE if "\0" not in one and "\ud800" not in one)
TAGS = (
    "<xevil>", "</td><xevil a=1>", '" onxevil="1', "' onxevil='1", "<script>xevil</script>", "<!-- xevil", "]]><xevil>",
    "<img src=x onxevil=1>", "javascript:xevil", "&lt;xevil&gt;", "<svg/onload=xevil>", "</style><xevil>",
    "</title><xevil>",
    "{{ xevil }}", "{% include 'xevil' %}", "<xevil\n>", "|<xevil>|", "`<xevil>`", "$x$ \\frac{xevil$",
    "[x](javascript:xevil)",
)  # fmt: skip
_PROGRAM = '#!/bin/sh\nfor one in "$@"; do printf \'%s\\0\' "$one" >> "$RECORD"; done\ncat >> "$RECORD.in"\n'


def _words(rng: Random, _before: Words) -> Words:
    """Some words of an attacker, one after the other or as one."""
    return tuple(
        "".join(rng.choice(EVIL) for _ in range(rng.randint(1, 3))) for _ in range(rng.randint(1, 6))
    )


def _in_a_shell(words: Words) -> tuple[list[str], str, str, list[str]]:
    """The script of a command, of what it is fed, and of a file; what arrived, and what else there is."""
    with tempfile.TemporaryDirectory() as place:
        program = Path(place) / "record"
        program.write_text(_PROGRAM)
        program.chmod(0o700)
        kept = f"{place}/made/a file's $(touch {CANARY})"
        steps = (Command(("record", *words), stdin=words[0]), WriteFile(kept, "".join(words)))
        script = "".join(rendered(one, "mark", stop=True) for one in steps)
        environment = {"PATH": f"{place}:/usr/bin:/bin", "RECORD": f"{place}/record.txt"}
        subprocess.run(["sh"], input=script.encode("utf-8", "surrogateescape"), cwd=place, env=environment,
                       capture_output=True, timeout=60, check=False)  # fmt: skip
        told = (Path(place) / "record.txt").read_bytes().decode("utf-8", "surrogateescape")
        fed = (Path(place) / "record.txt.in").read_bytes().decode("utf-8", "surrogateescape")
        written = Path(kept).read_bytes().decode("utf-8", "surrogateescape")
        return told.split("\0")[:-1], fed, written, sorted(one.name for one in Path(place).iterdir())


def _shell_judge(case: Case[Words], found: tuple[list[str], str, str, list[str]]) -> str:
    told, fed, written, there = found
    if there != ["made", "record", "record.txt", "record.txt.in"]:
        return f"ran: {there}"
    if (tuple(told), fed, written) != (case.value, case.value[0], "".join(case.value)):
        return f"other words: {told} {fed!r} {written!r}"
    return ""


def _evil_line(rng: Random) -> str:
    """What gets through as a value of a program's environment."""
    return rng.choice([one for one in EVIL if not line_problem(one)]) + "$(touch canary)"


def _evil_bed(rng: Random) -> Testbed:
    """The lab with the strangest interfaces and VLAN names that get through."""
    bed = lab()
    odd = rng.choice(
        [one for one in ("a+@=%.b", "=x", "%s", "@.a", "+1", "..x", "a=b%n") if not interface_problem(one)]
    )
    title = rng.choice([one for one in EVIL if not title_problem(one)])
    nodes = tuple(
        replace(one, legs=tuple(Leg(leg.vid, odd, leg.address) for leg in one.legs)) for one in bed.nodes
    )
    return replace(bed, nodes=nodes, vlans=tuple(replace(one, name=title) for one in bed.vlans))


def _plan_words(rng: Random, _before: Words) -> Words:
    """The number of a scenario that is made evil; everything else follows from it."""
    return (str(rng.randrange(10**6)),)


def _evil_plans(words: Words) -> list[tuple[Plan, str]]:
    """All plans of a scenario on nodes that have nothing, each with the value that nobody may run."""
    rng = Random(words[0] if words else "")
    scenario = rng.choice([one for one in SCENARIOS if SOLUTIONS[one.solution].is_vpn])
    value = _evil_line(rng)
    evil = replace(scenario, environment={"EVIL": value}, program_folder="/opt/a+@~.b")
    mesh = Mesh(_evil_bed(rng), evil, dry_run=True)
    found: list[tuple[Plan, str]] = []
    for stage in SOLUTIONS[scenario.solution].stages(mesh):
        for name in stage.nodes:
            fact = stage.plan(mesh, mesh.testbed.node(name))
            with contextlib.suppress(VpnmeshError):
                found.append((fact.read(blank(fact.commands, rng.choice([0, 1]))), value))
    return found


def _plan_judge(_case: Case[Words], found: Sequence[tuple[Plan, str]]) -> str:
    """A value is an argument of its own or a file's content, never a part of a script; paths are what they were."""
    for plan, value in found:
        for step in plan.steps:
            if isinstance(step, WriteFile):
                if value in step.path or ".." in step.path:
                    return f"path: {step.path}"
                continue
            scripts = [step.argv[i + 1] for i, one in enumerate(step.argv[:-1]) if one in ("-c", "-ec", "-e")]
            if bad := [one for one in (*scripts, reveal(step.stdin)) if value in one or CANARY in one]:
                return f"in a script: {bad[0][:300]}"
    return ""


def _name(rng: Random, _before: Words) -> Words:
    parts = ("..", ".", "a", "/", "//", "~", "", *EVIL[:30])
    return ("/".join(rng.choice(parts) for _ in range(rng.randint(1, 5))),)


def _kept(words: Words) -> tuple[str, list[str]]:
    """What a run keeps under that name, and every file that there is afterwards."""
    with tempfile.TemporaryDirectory() as place:
        store = Store.create(Path(place) / "deep" / "runs" / "run")
        try:
            kept = store.keep_raw(words[0] if words else "x", "text")
        except StoreError:
            kept = ""
        found = [str(one.relative_to(place)) for one in Path(place).rglob("*") if one.is_file()]
        return kept, found


def _kept_judge(_case: Case[Words], found: tuple[str, list[str]]) -> str:
    outside = [
        one for one in found[1] if not one.startswith(("deep/runs/run/raw/", "deep/runs/run/manifest"))
    ]
    return f"outside: {outside}" if outside else ""


def _run_of(words: Words) -> runs.Files:
    """A run whose free texts are these words."""
    rng = Random(repr(words))

    def evil() -> str:
        return rng.choice(words) if words else "x"

    free = ("reason", "problem", "why", "data_plane", "stage", "installer")
    lines = [{**one, **{key: evil() for key in free if key in one}} for one in runs.lines()]
    name, engine = evil(), evil()
    for one in lines:
        if one["type"] == "repetition":
            one.update(engine=engine, placement=engine)
        if one.get("scenario") == "headscale-direct":
            one["scenario"] = name
        if "stack" in one:
            one["stack"] = {evil(): {evil(): evil()}}
    known = {
        "schema_version": SCHEMA_VERSION, "inventory": evil(), "engine": engine, "packages": {evil(): evil()},
        "nodes": {evil(): {"kernel": evil()}, evil(): {evil(): evil()}}, "controller": {"kernel": evil()},
        "unavailable_tests": {evil(): evil()}, "remarks": [evil()], "argv": [evil()], "git_commit": evil(),
        "testbed": {"name": evil(), "nodes": [{"name": evil(), "kind": evil()}]}, "node_differences": [evil()],
        "footprint_differences": [evil()], "sessions": [{"remarks": [evil()], "argv": [evil()]}],
    }  # fmt: skip
    return {"journal.jsonl": "".join(json.dumps(one) + "\n" for one in lines).encode(),
            "manifest.json": json.dumps(known).encode()}  # fmt: skip


def _tags(rng: Random, _before: Words) -> Words:
    return tuple(rng.choice(TAGS) + rng.choice(["", *mutation.HOSTILE[:8]]) for _ in range(rng.randint(1, 5)))


def _page(words: Words) -> tuple[str, str]:
    """The run's report as HTML and as Markdown."""
    with tempfile.TemporaryDirectory() as place:
        study = study_from_run(runs.folder(_run_of(words), place))
        drawn = figures(study) if len(words) == 1 else {}
        page = compose(study, drawn, (), None)
        return render_html(page), render_markdown(page)


class _Parsed(HTMLParser):
    """Elements, attributes and links that came from data; `words` says that the data is there at all."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.bad: list[str] = []
        self.scripts = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if "xevil" in tag or any("xevil" in name for name, _ in attrs):
            self.bad.append(f"<{tag} {attrs}>")
        links = [value or "" for name, value in attrs if name in ("href", "src", "action", "xlink:href")]
        self.bad += [f"{tag}: {one}" for one in links if one.strip().lower().startswith("javascript:")]

    def handle_comment(self, data: str) -> None:
        if "xevil" in data:
            self.bad.append(f"<!--{data[:80]}")


@cache
def _own_scripts() -> int:
    return _Parsed(_page(())[0]).scripts


def _page_judge(case: Case[Words], found: tuple[str, str]) -> str:
    html, markdown = found
    parsed = _Parsed(html)
    if parsed.bad or parsed.scripts != _own_scripts():
        return f"in the page: {parsed.bad[:3]} {parsed.scripts}"
    if "xevil" in "".join(case.value) and "xevil" not in html:
        return "lost: nothing of the words is in the page"
    if tags := _Parsed(markdown).bad:
        return f"in the Markdown: {tags[:3]}"
    return ""


def _cells(words: Words) -> list[list[str]]:
    table = pl.DataFrame({"name": list(words), "mean": [-1.5] * len(words)})
    return list(csv.reader(io.StringIO(harmless(table).write_csv())))


def _cells_judge(case: Case[Words], found: list[list[str]]) -> str:
    bad = [row[0] for row in found[1:] if row and re.match(FORMULA, row[0])]
    if bad:
        return f"a formula: {bad[0]!r}"
    return "" if len(found) == len(case.value) + 1 else f"rows: {len(found)} of {len(case.value)}"


def _printed(words: Words) -> list[Result]:
    """An inventory with these VLAN names, and a run with these words, as commands print them."""
    title = next((one[:60] for one in words if not title_problem(one[:60])), "x")
    with tempfile.TemporaryDirectory() as place:
        for name, data in documents.inventories()[0].items():
            text = (
                data.decode().replace("name: ", f"name: {_quoted(title)} # ")
                if name == "groups"
                else data.decode()
            )
            (Path(place) / f"{name}.yaml").write_text(text, encoding="utf-8")
        run = Path(place) / "run"
        run.mkdir()
        runs.folder(_run_of(words), str(run))
        runner = CliRunner()
        return [
            runner.invoke(inventory, ["show", place]),
            runner.invoke(inventory, ["validate", place]),
            runner.invoke(report, [str(run)]),
        ]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _printed_judge(_case: Case[Words], found: Sequence[Result]) -> str:
    for one in found:
        if one.exception is not None and not isinstance(one.exception, SystemExit):
            raise one.exception
        bad = [c for c in one.output if not c.isprintable() and c not in "\n\t"]
        if bad:
            at = one.output.index(bad[0])
            return f"not printable: {bad[0]!r} in {one.output[max(0, at - 150) : at + 50]!r}"
    return ""


def _one() -> Sequence[Words]:
    return (("x",),)


TARGETS: tuple[Target[Any], ...] = (
    Target("words in a shell", _one, _words, _in_a_shell, _shell_judge, 0.5),
    Target("words in plans", _one, _plan_words, _evil_plans, _plan_judge, 0.5),
    Target("names of raw files", _one, _name, _kept, _kept_judge, 1.0),
    Target("words in a page", _one, _tags, _page, _page_judge, 0.1),
    Target("words in a table", _one, _words, _cells, _cells_judge, 0.5),
    Target("words on a terminal", _one, _words, _printed, _printed_judge, 0.15),
)
