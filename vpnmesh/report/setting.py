"""Under what a study's figures were taken: what two runs must share to be compared, and what a reader must know first.

A difference of what a figure *means* is refused (`refuse_unlike`): the same cell of both runs is then two questions.
A difference of who answers (machine, kernel, versions, day) is what a comparison is for: it is said (`notes`), and
another machine is judged by its own baseline (`vpnmesh.report.changes`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.aggregate import unavailable
from vpnmesh.report.identity import mapping
from vpnmesh.report.published import own_planes
from vpnmesh.report.tables import Study

NOT_RECORDED = "not recorded"

_ASKED = {
    "duration_s": "seconds per repetition",
    "omit_s": "omitted seconds",
    "congestion": "congestion control",
    "udp_rate": "UDP rate",
    "udp_window": "UDP window",
}
"""What of the profile decides what a figure means. Its name, blocks and repetitions decide how sure it is."""
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


@dataclass(frozen=True, slots=True)
class Difference:
    """One matter in which two runs differ, and what each of them says."""

    matter: str
    first: str
    second: str

    def __str__(self) -> str:
        """As a reader is told it."""
        return f"{self.matter} {self.first} against {self.second}"


def refuse_mixed(samples: pl.DataFrame, place: str) -> pl.DataFrame:
    """The frame unchanged; InputError where its repetitions were not all impaired at one place by one engine."""
    rows = samples.filter(~unavailable())
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
    """What a figure of this study means, as matters and values; what nobody recorded says so."""
    profile, testbed = (mapping(study.provenance.get(name)) for name in ("profile", "testbed"))
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
        **{matter: _text(profile.get(name)) for name, matter in _ASKED.items()},
    }


def recorded(study: Study, column: str) -> str:
    """What the study's repetitions say of their placement or engine; several only where nobody refused them."""
    found = study.samples[column].drop_nulls().unique().sort().to_list()
    return ", ".join(found) or NOT_RECORDED


def refuse_unlike(a: Study, b: Study) -> None:
    """InputError where the same cell of both means two things: they are not compared, and no gate judges them."""
    if found := [str(one) for one in _differing(meaning(a), meaning(b))]:
        options = [
            option for matter, option in _OPTIONS.items() if any(text.startswith(matter) for text in found)
        ]
        how = f" ({', '.join(options)} as in the first)" if options else ""
        raise InputError(
            "--compare",
            f"the runs measured different things: {'; '.join(found)}",
            f"measure one of them again like the other{how}, or read their reports side by side",
        )


def notes(a: Study, b: Study) -> list[str]:
    """What may differ and does, and what neither run recorded: a reader has to know both."""
    others = _differing(_circumstances(a), _circumstances(b))
    found = [f"{one.matter}: {one.first} against {one.second}" for one in others]
    blank = [matter for matter, value in meaning(a).items() if value == NOT_RECORDED]
    if blank:
        found.append(f"not recorded by either run, so taken to be alike: {', '.join(blank)}")
    return found


def _circumstances(study: Study) -> dict[str, str]:
    known = study.provenance
    profile = mapping(known.get("profile"))
    versions = mapping(known.get("versions"))
    planes = {f"data plane of {name}": str(plane) for name, plane in own_planes(study.samples).rows()}
    pairs = study.samples["pair"].drop_nulls().unique().sort().to_list()
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
    """In the first's order; what one of them alone names differs from nothing recorded."""
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
