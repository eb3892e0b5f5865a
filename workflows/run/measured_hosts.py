"""Which testbed a folder's figures are of: what was measured on other hosts is never gone on with as if here."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.errors import NO_JSON, InputError
from vpnmesh.lab.atomic import write_atomic
from vpnmesh.model import Testbed

FILE = "testbed.json"


@dataclass(frozen=True, slots=True)
class MeasuredHosts:
    """An inventory, and a digest of its nodes with all their addresses; `run` is who holds them meanwhile."""

    inventory: str
    digest: str
    run: str = ""

    @classmethod
    def of(cls, inventory: str, testbed: Testbed, run: str = "") -> "MeasuredHosts":
        """Those of that testbed."""
        told = sorted(
            f"{node.name} {node.management} {' '.join(str(leg.address) for leg in node.legs)}"
            for node in testbed.nodes
        )
        return cls(inventory, hashlib.sha256("\n".join(told).encode()).hexdigest()[:16], run)

    @classmethod
    def kept_in(cls, folder: Path) -> "MeasuredHosts | None":
        """Those that were written down in a folder; None where none were."""
        return _read(folder / FILE)

    def refuse_others(self, folder: Path, option: str) -> None:
        """InputError where that folder holds what was measured on other hosts; a folder that does not say is taken."""
        there = _read(folder / FILE)
        if there is not None and there.digest != self.digest:
            raise InputError(
                option,
                f"{folder} holds what was measured on other hosts or addresses, of the inventory {there.inventory}",
                "name another folder, or that inventory",
            )

    def keep(self, folder: Path) -> None:
        """Write them down beside what is measured; InputError where that cannot be."""
        try:
            if not (folder / FILE).exists():
                told = {"inventory": self.inventory, "digest": self.digest, "run": self.run}
                content = json.dumps(told)
                write_atomic(folder / FILE, f"{content}\n".encode())
        except OSError as error:
            raise InputError(str(folder / FILE), f"cannot be written: {error.strerror}") from error


def _read(path: Path) -> MeasuredHosts | None:
    try:
        found = json.loads(path.read_bytes())
        return MeasuredHosts(str(found["inventory"]), str(found["digest"]), str(found.get("run", "")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    except (*NO_JSON, LookupError, TypeError) as error:
        raise InputError(
            str(path), "does not say which hosts were measured", "move the folder away"
        ) from error
