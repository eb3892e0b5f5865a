"""What docs/ci-gate.md tells people to copy: its YAML is read by what it is for, and its options exist."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from vpnmesh.documents.yaml_text import parse_yaml
from vpnmesh.study.scenarios import BUILT_IN
from workflows.reporting.comparing import read_gate

PAGE = (Path(__file__).parents[2] / "docs" / "ci-gate.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
YAML = [text for kind, text in BLOCKS if kind == "yaml"]
(SHELL,) = [text for kind, text in BLOCKS if kind == "sh"]
COMMANDS = [
    line.partition("||")[0].strip()
    for line in SHELL.replace("\\\n", " ").splitlines()
    if " -m workflows." in line
]


def test_the_files_of_the_page_are_what_they_say(tmp_path: Path) -> None:
    release, gate, job = YAML
    (scenario,) = [
        one
        for one in BUILT_IN.with_file(release.encode(), "release.yaml").scenarios
        if one.name == "candidate"
    ]
    assert scenario.program_folder == "/opt/vpn/release"
    (tmp_path / "gate.yaml").write_text(gate)
    found = read_gate(tmp_path / "gate.yaml")
    assert (found.margin_pct, found.relative) == (20, True)
    assert "gate" in parse_yaml(job.encode(), "job")["jobs"]  # type: ignore[index]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_page_have_these_options(line: str) -> None:
    words = shlex.split(line)
    module = words[words.index("-m") + 1]
    known = {name for option in import_module(module).main.params for name in option.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_page_measures_compares_and_puts_in_a_row() -> None:
    assert len(COMMANDS) == 3
