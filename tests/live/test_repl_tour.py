"""docs/repl.md, executed: what it shows is what happens."""

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from vpnmesh.lab.lifecycle import Lab
from workflows.repl import namespace
from workflows.run.site import Site

pytestmark = pytest.mark.live

TOUR = ROOT / "docs" / "repl.md"
COLOUR = re.compile(r"\x1b\[\d+m")
MILLISECONDS = re.compile(r"(?<=_ms=)\d+\.\d+")


class Checker(doctest.OutputChecker):
    """Colours are the terminal's business, and no two round trips are alike; all else must be as written."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        """Compare without both."""
        return super().check_output(_plain(want), _plain(got), optionflags)


def _plain(text: str) -> str:
    lines = MILLISECONDS.sub("0.0", COLOUR.sub("", text)).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines if line.strip())


def blocks(language: str) -> list[str]:
    """The tour's code, by the language of its fence."""
    return re.findall(rf"```{language}\n(.*?)```", TOUR.read_text(), re.DOTALL)


@pytest.fixture
def names(lab: Lab) -> Iterator[dict[str, object]]:
    """What the prompt knows."""
    del lab
    found = namespace("lab")
    yield found
    site = found["site"]
    assert isinstance(site, Site)
    site.nr.close_connections()


def test_the_tour_is_true(names: dict[str, object]) -> None:
    """Every line of the tour prints what the page says."""
    session = doctest.DocTestParser().get_doctest("".join(blocks("pycon")), names, TOUR.name, str(TOUR), 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(checker=Checker())
    runner.run(session, out=said.append, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
    assert len(session.examples) == 29


def test_a_script_needs_no_prompt(lab: Lab, tmp_path: Path) -> None:
    """The page's script works with plain InitNornir and a configuration file, in a process of its own."""
    (script,) = blocks("python")
    source = ROOT / "inventory" / "lab"
    for file in source.glob("*.yaml"):
        text = file.read_text().replace("inventory/lab/", f"{tmp_path}/")
        # the test's lab does not stand where one for people would
        (tmp_path / file.name).write_text(text.replace("/run/vpnmesh/lab", str(lab.directory)))
    script = script.replace("inventory/lab/", f"{tmp_path}/")
    done = subprocess.run(
        (sys.executable, "-c", script), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "{'worker1': True, 'worker2': True}\n", done.stderr


@pytest.mark.parametrize("prompt", ["IPython", "plain"])
def test_prompt_without_a_terminal_reads_its_commands(prompt: str, lab: Lab, tmp_path: Path) -> None:
    """`python -m workflows.repl` takes commands from a pipe, functions among them, and ends with it.

    It is IPython's prompt where that is installed, and Python's own where it is not.
    """
    del lab
    without = "" if prompt == "IPython" else "sys.modules['IPython'] = None; "
    start = f"import runpy, sys; {without}runpy.run_module('workflows.repl', run_name='__main__')"
    command = (
        "def failed(name):\n"
        "    return nr.filter(name=name).run(task=tasks.has_netem)[name].failed\n"
        "\n"
        "print('failed:', failed('relay'))\n"
    )
    done = subprocess.run(
        (sys.executable, "-c", start, "--inventory", "lab"),
        input=command,
        cwd=ROOT,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"failed:(\x1b\[\d*m|\s)*False", done.stdout), done.stdout
    assert ("In [1]" in done.stdout) == (prompt == "IPython")
