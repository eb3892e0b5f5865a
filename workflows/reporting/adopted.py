"""What a reader must know of a run that went on in other surroundings than it was begun in."""

import polars as pl

from vpnmesh.study.manifest import Manifest
from vpnmesh.study.surroundings import in_one_sentence

_SHOWN = 6


def adopted_notes(manifest: Manifest, samples: pl.DataFrame) -> list[str]:
    """A sentence for each session that adopted something, and one for the cells whose figures are of both kinds."""
    notes = [
        f"session {number} went on in other surroundings (--adopt): {in_one_sentence(session.adopted)}"
        for number, session in enumerate(manifest.sessions, start=1)
        if session.adopted
    ]
    cells = samples.group_by("scenario", "condition", "test", maintain_order=True).agg(
        adopted=pl.col("adopted").sum(), rows=pl.len()
    )
    marked = cells.filter(pl.col("adopted") > 0)
    if marked.is_empty():
        return notes
    named = [f"{row['scenario']} {row['condition']} {row['test']}" for row in marked.iter_rows(named=True)]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    sentence = (
        f"{marked['adopted'].sum()} of {samples.height} repetitions are marked as adopted: means of"
        f" {', '.join(named[:_SHOWN])}{more}, and every verdict, ranking or ratio that they have a part in,"
        " compare surroundings too, not only VPNs"
    )
    return [*notes, sentence]
