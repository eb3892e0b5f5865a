"""The captured repetitions below this folder: TEST/CASE/ with the raw files of one repetition and an about.yaml."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from inventory.load import load
from vpnmesh.measurements.protocol import Question, Settings
from vpnmesh.model import Condition
from vpnmesh.study.scenarios import scenario_named

HERE = Path(__file__).parent
ABOUT = "about.yaml"


@dataclass(frozen=True, slots=True)
class Case:
    """One captured repetition: what was asked, what was kept, and the figures that it holds."""

    test: str
    name: str
    question: Question
    raw: dict[str, str]
    figures: dict[str, float]


def cases(test: str) -> list[Case]:
    """Every captured repetition of that test, by folder name."""
    return [_case(test, path.parent) for path in sorted((HERE / test).glob(f"*/{ABOUT}"))]


def question(scenario: str, **facts: object) -> Question:
    """A question about the lab's pair under that scenario."""
    bed = load("lab")[1]
    return Question(bed, bed.pairs[0], scenario=scenario_named(scenario), **facts)  # type: ignore[arg-type]


def _case(test: str, folder: Path) -> Case:
    about = yaml.safe_load((folder / ABOUT).read_text())
    asked = question(
        about["scenario"],
        condition=Condition.parse(about.get("condition", "none")),
        settings=Settings(about["duration_s"], steady=about.get("steady", True)),
        processes=tuple(about.get("processes", ())),
        fallback_s=about.get("fallback_s"),
    )
    raw = {path.name: path.read_text() for path in folder.iterdir() if path.name != ABOUT}
    return Case(test, folder.name, asked, raw, about["figures"])
