"""What switch ports were before `switch apply`, kept on the controller until `switch undo` has set them back."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nornir.core.inventory import Host

from tasks.firewall.journal import default_directory
from vpnmesh.errors import NO_JSON, CheckError
from vpnmesh.lab.atomic import make_private, write_atomic
from vpnmesh.switch.access import AccessPort


@dataclass(frozen=True, slots=True)
class SwitchRecord:
    """The ports of one switch by name: as they were before all of our changes, and as we wrote them last."""

    path: Path
    before: dict[str, AccessPort] = field(default_factory=dict)
    written: dict[str, AccessPort] = field(default_factory=dict)

    @classmethod
    def of(cls, host: Host) -> "SwitchRecord":
        """The record of that switch, empty where nothing is to be undone; CheckError where it cannot be read."""
        path = default_directory().parent / "switch" / f"{host.name}-{host.hostname}-{host.port or 22}.json"
        if not path.exists():
            return cls(path)
        try:
            found = json.loads(path.read_bytes())
            return cls(path, _ports(found["before"]), _ports(found["written"]))
        except (OSError, *NO_JSON, LookupError, TypeError, AttributeError) as error:
            raise CheckError("switch", f"{path} cannot be read: it has what the ports were") from error

    def add(self, before: Iterable[AccessPort], after: Iterable[AccessPort]) -> None:
        """Keep these, too, before they are written; what a port was at first stays."""
        kept = {port.name: port for port in before} | self.before
        written = self.written | {port.name: port for port in after}
        content = {"before": _plain(kept), "written": _plain(written)}
        try:
            make_private(self.path.parent)
            write_atomic(self.path, json.dumps(content, indent=1).encode())
        except OSError as error:
            raise CheckError("switch", f"{self.path} cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        """Nothing is to be undone any more."""
        self.path.unlink(missing_ok=True)


def _plain(ports: dict[str, AccessPort]) -> list[dict[str, object]]:
    return [asdict(port) for port in ports.values()]


def _ports(listed: Iterable[dict[str, object]]) -> dict[str, AccessPort]:
    ports = [AccessPort(**one) for one in listed]  # type: ignore[arg-type]
    return {port.name: port for port in ports}
