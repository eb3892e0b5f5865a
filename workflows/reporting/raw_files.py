"""The files that a repetition kept below a run's directory, as its journal names their folder."""

from pathlib import Path


def raw_file(run: Path, raw: str | None, name: str) -> Path | None:
    """The file `name` of the folder `raw` of this run; None where there is none, or only outside of the run.

    A journal that somebody else wrote can name any folder, also one that no file system could have.
    """
    root = run.resolve()
    path = (root / (raw or "") / name).resolve()
    if not raw or not path.is_relative_to(root):
        return None
    try:
        return path if path.is_file() else None
    except OSError:
        return None
