"""Reads folders of published results: k8s-bench-suite's JSON and hey's CSV, a folder per scenario."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vpnmesh.errors import InputError, ToolError
from vpnmesh.frames.imports import Imported, import_knb
from vpnmesh.frames.names import PublishedFile, scenario_of
from vpnmesh.frames.requests import RunFile, scan_hey
from vpnmesh.frames.schemas import RESULTS, empty
from vpnmesh.model import Condition
from vpnmesh.reference.data import Published
from vpnmesh.report.environment import differing, environment_of
from vpnmesh.stats.caps import NETEM_DEFAULT_LIMIT
from vpnmesh.study.scenarios import BUILT_IN
from vpnmesh.tools import hey, knb


def read_imports(knb_dir: Path | None = None, hey_dir: Path | None = None) -> Published:
    """What published files hold and what was dropped or repaired in reading them; either folder may be missing."""
    imported = _read_knb(knb_dir) if knb_dir else Imported(empty(RESULTS))
    runs, api_notes = find_hey(hey_dir) if hey_dir else ([], [])
    provenance = _import_provenance(imported, knb_dir, hey_dir)
    notes = (*imported.notes, *differing(imported.facts, BUILT_IN), *api_notes)
    return Published(imported.samples, scan_hey(runs), notes, provenance)


def _import_provenance(imported: Imported, knb_dir: Path | None, hey_dir: Path | None) -> dict[str, object]:
    mtu = {s: int(v) for s, facts in imported.facts.items() for k, v in facts if k == "mtu" and v.isdigit()}
    return {
        "kind": "import",
        "tools": [name for name, folder in (("k8s-bench-suite", knb_dir), ("hey", hey_dir)) if folder],
        "cpu_unit": knb.CPU_UNIT,
        "ram_unit": "MiB",
        "pod_mtu": mtu,
        # the authors' scripts leave netem's queue at its default
        "netem_limit": NETEM_DEFAULT_LIMIT,
        "environment": environment_of(imported.facts, BUILT_IN),
    }


def _read_knb(folder: Path) -> Imported:
    walk = FolderWalk(folder, ".json")
    sources = list(walk.sources())
    texts = ((source, Path(source.path).read_text(encoding="utf-8", errors="replace")) for source in sources)
    imported = import_knb(texts)
    return Imported(imported.samples, (*walk.notes, *imported.notes), imported.facts)


def find_hey(folder: Path) -> tuple[list[RunFile], list[str]]:
    """The runs of hey in a folder, and what was left out. InputError where there is no such folder."""
    walk = FolderWalk(folder, ".csv")
    runs = []
    for index, source in enumerate(walk.sources(), start=1):
        try:
            with Path(source.path).open(encoding="utf-8", errors="replace") as file:
                hey.check_header(file.readline())
            condition = (knb.condition_of(source.name) or Condition()).name
        except (ToolError, InputError) as error:
            walk.notes.append(f"{source.name}: not usable: {error}")
            continue
        runs.append(RunFile(source.path, source.scenario, condition, hey.run_of(source.file_name) or index))
    return runs, walk.notes


@dataclass(slots=True)
class FolderWalk:
    """The files of a folder of published results by scenario, and notes on everything in it that was left out."""

    folder: Path
    ending: str
    notes: list[str] = field(default_factory=list)

    def sources(self) -> Iterator[PublishedFile]:
        """The files per scenario, or those of one scenario's own folder. InputError where there is no such folder."""
        if not self.folder.is_dir():
            problem = "is a file, wanted a folder" if self.folder.exists() else "there is no such folder"
            raise InputError(str(self.folder), problem)
        owners: dict[str, str] = {}
        for place in (self.folder, *_folders(self.folder)):
            wanted = self._wanted(place)
            scenario = scenario_of(place.resolve().name)
            if wanted and owners.setdefault(scenario, place.name) != place.name:
                taken = f"{owners[scenario]} is scenario {scenario} already"
                self.notes.append(f"{place.name}: left out: {taken}")
                continue
            yield from (PublishedFile(f"{place.name}/{path.name}", scenario, str(path)) for path in wanted)

    def _wanted(self, place: Path) -> list[Path]:
        """The files of the right kind in one folder; a note for whatever else is there."""
        files = sorted(path for path in place.iterdir() if path.is_file())
        wanted = [path for path in files if path.suffix == self.ending]
        self.notes += [
            f"{place.name}/{path.name}: left out: not {self.ending}" for path in files if path not in wanted
        ]
        if place != self.folder:
            inside = [path.name for path in _folders(place)]
            self.notes += [f"{place.name}/{name}: left out: a folder inside a scenario's" for name in inside]
        return wanted


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir())
