"""The catalogue that ships with the package: what is known of each VPN, from criteria.yaml."""

from importlib import resources

from vpnmesh.criteria.catalogue import Catalogue
from vpnmesh.criteria.parse import parse


def text() -> str:
    """The file that ships with the package."""
    return resources.files("vpnmesh.criteria").joinpath("criteria.yaml").read_text("utf-8")


def load() -> Catalogue:
    """The catalogue that ships with the package."""
    return parse(text())
