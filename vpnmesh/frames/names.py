"""Which scenario a folder of the paper's published results belongs to, and which file holds what."""

import re
from dataclasses import dataclass

from vpnmesh.solutions import SOLUTIONS

_NUMBERED = re.compile(r"^\d+-")
_API = re.compile(r"-k8s-api-bench.*$")
_PATHS = ("-direct", "-relay", "-relay-tcp")


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file, by the name that notes and rows call it, and the scenario it belongs to."""

    name: str
    scenario: str
    path: str

    @property
    def file_name(self) -> str:
        """The last part of the name, which states conditions and runs."""
        return self.name.rsplit("/", 1)[-1]


def scenario_of(folder: str) -> str:
    """The scenario a folder is named after: `11-native-mtu1230` and `03-headscale-k8s-api-bench` alike.

    A scenario without a VPN is named after its MTU; the API benchmark's folders leave out that a connection is direct.
    """
    bare = _NUMBERED.sub("", folder)
    name = _API.sub("", bare)
    baselines = [one.name for one in SOLUTIONS.values() if not one.is_vpn]
    for baseline in baselines:
        name = re.sub(rf"^{baseline}-mtu(\d+)", rf"{baseline}-\1", name)
    is_baseline = name.startswith(tuple(f"{one}-" for one in baselines))
    if bare == _API.sub("", bare) or is_baseline or name.endswith(_PATHS):
        return name
    return f"{name}-direct"
