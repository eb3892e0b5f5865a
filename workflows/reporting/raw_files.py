"""The files that a repetition kept below a run's directory, as its journal names their folder."""

import errno
from pathlib import Path


def raw_file(root: Path, raw: str | None, name: str) -> Path | None:
    """The file `name` of the folder `raw` below `root`, a run's resolved directory; None where there is none.

    Nor is there one outside of the run: a journal that somebody else wrote can name any folder, also one that no
    file system could have.
    """
    path = (root / (raw or "") / name).resolve()
    if not raw or not path.is_relative_to(root):
        return None
    try:
        return path if path.is_file() else None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return None
