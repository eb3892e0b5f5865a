"""Which scenario a folder of the paper's published results belongs to, and which file holds what."""

import re
from dataclasses import dataclass

_NUMBERED = re.compile(r"^\d+-")
_MTU = re.compile(r"^native-mtu(\d+)")
_API = re.compile(r"-k8s-api-bench.*$")
_PATHS = ("-direct", "-relay", "-relay-tcp")


@dataclass(frozen=True, slots=True)
class Source:
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

    The folders of the API benchmark leave out that a connection is direct.
    """
    bare = _NUMBERED.sub("", folder)
    name = _MTU.sub(r"native-\1", _API.sub("", bare))
    if bare == _API.sub("", bare) or name.startswith("native-") or name.endswith(_PATHS):
        return name
    return f"{name}-direct"
