"""Reads published results: a folder per scenario of k8s-bench-suite, hey or k8s-netperf, or vpn-bench's folders."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from vpnmesh.errors import InputError, ToolError
from vpnmesh.frames.imports import Imported, import_knb
from vpnmesh.frames.names import PublishedFile, scenario_of
from vpnmesh.frames.other_tools import import_k8s_netperf
from vpnmesh.frames.requests import RunFile, scan_hey
from vpnmesh.frames.schemas import RESULTS, empty
from vpnmesh.model import Condition
from vpnmesh.reference.data import Published
from vpnmesh.report.environment import differing, environment_of
from vpnmesh.stats.caps import NETEM_DEFAULT_LIMIT
from vpnmesh.study.scenarios import BUILT_IN
from vpnmesh.tools import hey, knb
from workflows.reporting.vpn_bench_files import read_vpn_bench


def read_imports(
    knb_dir: Path | None = None,
    hey_dir: Path | None = None,
    bench_dir: Path | None = None,
    netperf_dir: Path | None = None,
) -> Published:
    """What published files hold and what was dropped or repaired in reading them; any of the folders may be missing.

    InputError where throughput of more than one tool is asked for: their figures do not mean the same.
    """
    readers = {
        "--import-knb": (knb_dir, _read_knb),
        "--import-vpn-bench": (bench_dir, read_vpn_bench),
        "--import-k8s-netperf": (netperf_dir, _read_netperf),
    }
    asked = {option: (folder, read) for option, (folder, read) in readers.items() if folder}
    if len(asked) > 1:
        raise InputError(" and ".join(asked), "two tools at once are never pooled", "import each by itself")
    imported = next((read(folder) for folder, read in asked.values()), Imported(empty(RESULTS)))
    runs, api_notes = find_hey(hey_dir) if hey_dir else ([], [])
    if bench_dir or netperf_dir:
        provenance = _provenance_of_others(imported, "vpn-bench" if bench_dir else "k8s-netperf")
    else:
        provenance = _import_provenance(imported, knb_dir, hey_dir)
    notes = (*imported.notes, *differing(imported.facts, BUILT_IN), *api_notes)
    return Published(imported.samples, scan_hey(runs), notes, provenance)


def _provenance_of_others(imported: Imported, tool: str) -> dict[str, object]:
    """What the files say of how they were made; where nodes and machines are, nothing says."""
    return {
        "kind": "import",
        "tools": [tool],
        "asked": dict(imported.asked),
        "environment": {"Tool": tool, **environment_of(imported.facts, BUILT_IN)},
    }


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
    walk = FolderWalk(folder, (".json",))
    sources = list(walk.sources())
    texts = ((source, Path(source.path).read_text(encoding="utf-8", errors="replace")) for source in sources)
    imported = import_knb(texts)
    return Imported(imported.samples, (*walk.notes, *imported.notes), imported.facts)


def _read_netperf(folder: Path) -> Imported:
    """JSON, and `result-*.csv` where a folder holds no JSON: a run writes both, which would count twice."""
    walk = FolderWalk(folder, (".json", ".csv"))
    sources = list(walk.sources())
    with_json = {source.scenario for source in sources if source.path.endswith(".json")}
    kept = []
    for source in sources:
        if source.path.endswith(".csv") and not source.file_name.startswith("result-"):
            walk.notes.append(f"{source.name}: left out: no result-*.csv")
        elif source.path.endswith(".csv") and source.scenario in with_json:
            walk.notes.append(
                f"{source.name}: left out: there is JSON beside it, which holds the same and more"
            )
        else:
            kept.append(source)
    imported = import_k8s_netperf(
        (one, (knb.condition_of(one.name) or Condition()).name, _text(Path(one.path))) for one in kept
    )
    return replace(imported, notes=(*walk.notes, *imported.notes))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def find_hey(folder: Path) -> tuple[list[RunFile], list[str]]:
    """The runs of hey in a folder, and what was left out. InputError where there is no such folder."""
    walk = FolderWalk(folder, (".csv",))
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
    endings: tuple[str, ...]
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
        wanted = [path for path in files if path.suffix in self.endings]
        self.notes += [
            f"{place.name}/{path.name}: left out: not {' or '.join(self.endings)}"
            for path in files
            if path not in wanted
        ]
        if place != self.folder:
            inside = [path.name for path in _folders(place)]
            self.notes += [f"{place.name}/{name}: left out: a folder inside a scenario's" for name in inside]
        return wanted


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir())
