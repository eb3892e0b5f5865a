"""The circumstances of a study's figures: what two runs must share to be compared, and what else differs.

A difference in what a figure *means* is refused (`refuse_unlike`): the same cell of both runs then answers two
questions. A difference in what was under test or on what (machine, kernel, versions, day) is what a comparison is for:
it is said (`notes`), and another machine is judged by its own baseline (`vpnmesh.report.changes`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.aggregate import pairs_of, unavailable
from vpnmesh.report.identity import mapping
from vpnmesh.report.published import own_planes
from vpnmesh.report.tables import Study
from vpnmesh.report.variants import differences

NOT_RECORDED = "not recorded"
STEADY = "from when a flow is steady"

_ASKED = {
    "duration_s": "seconds per repetition",
    "omit_s": "omitted seconds",
    "congestion": "congestion control",
    "udp_rate": "UDP rate",
    "udp_window": "UDP window",
}
"""The parts of the profile that decide what a figure means; its blocks and repetitions decide how sure it is."""
_TOLD = (
    "kernel",
    "machine",
    "cpu_unit",
    "git_commit",
    "inventory",
    "seed",
    "started_at",
    "allow_virtual_forwarding",
)
_OPTIONS = {"placement": "--placement", "seconds per repetition": "--duration"}
MEANT = frozenset({"solution", "path", "pod_mtu", "tunnel_mtu", "policy"})
"""What of a scenario decides what its figures mean; options, environment and version are what is under test."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One respect in which two runs differ, and the value of each."""

    matter: str
    first: str
    second: str

    def __str__(self) -> str:
        """The difference in words."""
        return f"{self.matter} {self.first} against {self.second}"


def refuse_mixed(samples: pl.DataFrame, place: str) -> pl.DataFrame:
    """The frame unchanged; InputError where its repetitions were not all impaired at one place by one engine."""
    # what was adopted is marked and warned of, wherever it is pooled
    rows = samples.filter(~unavailable() & ~pl.col("adopted").fill_null(value=False))
    for column in ("placement", "engine"):
        found = rows[column].fill_null(NOT_RECORDED).value_counts().sort(column).rows()
        if len(found) > 1:
            told = ", ".join(f"{value} ({n} repetitions)" for value, n in found)
            raise InputError(
                place,
                f"repetitions of more than one {column} are never pooled: {told}",
                f"put the rows of each {column} into a run directory of its own and report on each",
            )
    return samples


def meaning(study: Study) -> dict[str, str]:
    """What decides the meaning of this study's figures: name -> value, "not recorded" where there is none."""
    profile, testbed = (mapping(study.provenance.get(name)) for name in ("profile", "testbed"))
    # of others' results the import says what its files tell
    asked = {**mapping(study.provenance.get("asked")), **profile}
    lab = mapping(study.provenance.get("lab"))
    kinds = {
        str(mapping(node).get("kind")) for node in _list(testbed.get("nodes")) if mapping(node).get("kind")
    }
    return {
        "placement": recorded(study, "placement"),
        "engine": recorded(study, "engine"),
        "substrate": _text(study.provenance.get("substrate")),
        "kinds of nodes": ", ".join(sorted(kinds)) or NOT_RECORDED,
        "port rate in Mbit/s": _text(lab.get("port_rate_mbit_s")),
        "replayed paths": ", ".join(map(str, _list(lab.get("replayed_paths")))) or "none",
        **{matter: _text(asked.get(name)) for name, matter in _ASKED.items()},
        "seconds count": _counted(profile),
    }


def _counted(profile: Mapping[str, object]) -> str:
    """From when on a flow counts; runs made before there was a choice left the omitted seconds out."""
    if not profile:
        return NOT_RECORDED
    return STEADY if profile.get("steady") is True else "after the omitted ones"


def recorded(study: Study, column: str) -> str:
    """The placement or engine of the study's repetitions; several only where `refuse_mixed` was not asked."""
    found = study.samples[column].drop_nulls().unique().sort().to_list()
    return ", ".join(found) or NOT_RECORDED


SUBSTRATE = frozenset({"engine", "substrate", "kinds of nodes", "port rate in Mbit/s", "replayed paths"})
"""In what a twin differs from the testbed that it is like."""


def refuse_unlike(
    a: Study, b: Study, place: str = "--compare", besides: frozenset[str] = frozenset()
) -> None:
    """InputError where the same cell of both means two things: they are not compared, and no gate judges them.

    In the matters `besides` the two may differ.
    """
    if changed := _scenarios(a, b, MEANT):
        raise InputError(
            place,
            f"scenarios of one name were two things: {'; '.join(changed)}",
            "measure the changed one under a name of its own, as a variant (variant_of), in the same run",
        )
    if found := [str(one) for one in _differing(meaning(a), meaning(b)) if one.matter not in besides]:
        options = [
            option for matter, option in _OPTIONS.items() if any(text.startswith(matter) for text in found)
        ]
        how = f" ({', '.join(options)} as in the first)" if options else ""
        raise InputError(
            place,
            f"the runs measured different things: {'; '.join(found)}",
            f"measure one of them again like the other{how}, or read their reports side by side",
        )


def substrates(a: Study, b: Study) -> list[str]:
    """In which matters of the substrate the two differ, in words."""
    return [str(one) for one in _differing(meaning(a), meaning(b)) if one.matter in SUBSTRATE]


def notes(a: Study, b: Study) -> list[str]:
    """What differs although the two can be compared, and what neither run recorded."""
    others = _differing(_circumstances(a), _circumstances(b))
    found = [f"{one.matter}: {one.first} against {one.second}" for one in others]
    blank = [matter for matter, value in meaning(a).items() if value == NOT_RECORDED]
    found += _scenarios(a, b)
    if blank:
        found.append(f"not recorded by either run, so taken to be alike: {', '.join(blank)}")
    return found


def _scenarios(a: Study, b: Study, keys: frozenset[str] = frozenset()) -> list[str]:
    """What the scenarios that both runs measured are told to be otherwise, in words; of these keys, or of any."""
    both = [name for name in a.scenario_order if name in b.scenario_order]
    told = {
        name: differences(first, second, keys)
        for name in both
        if (first := a.scenarios.get(name)) and (second := b.scenarios.get(name))
    }
    return [f"{name}: {', '.join(what)}" for name, what in told.items() if what]


def _circumstances(study: Study) -> dict[str, str]:
    known = study.provenance
    profile = mapping(known.get("profile"))
    versions = mapping(known.get("versions"))
    planes = {f"data plane of {name}": str(plane) for name, plane in own_planes(study.samples).rows()}
    pairs = pairs_of(study.samples)
    return {
        **{name.replace("_", " "): _text(known.get(name)) for name in _TOLD},
        **{f"version of {name}": _text(version) for name, version in versions.items()},
        **{
            name: _text(profile.get(name)) for name in ("repetitions_clean", "repetitions_impaired", "blocks")
        },
        "pairs": ", ".join(pairs) or NOT_RECORDED,
        **planes,
    }


def _differing(a: Mapping[str, str], b: Mapping[str, str]) -> list[Difference]:
    """What differs, in the first one's order; a value that one of them lacks counts as "not recorded"."""
    matters = dict.fromkeys((*a, *b))
    both = [Difference(name, a.get(name, NOT_RECORDED), b.get(name, NOT_RECORDED)) for name in matters]
    # a data plane of a scenario that the other run has not is no difference: that cell is compared with nothing
    return [
        one
        for one in both
        if one.first != one.second
        and not (one.matter.startswith("data plane") and NOT_RECORDED in {one.first, one.second})
    ]


def _list(value: object) -> Iterable[object]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _text(value: object) -> str:
    """A value in at most 120 characters; an empty one ("" is iperf3's own default) in words."""
    if value is None:
        return NOT_RECORDED
    return str(value)[:120] or "default"
