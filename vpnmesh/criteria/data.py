"""What is known of each VPN: from the files that ship with the package, and from solutions of the user's own."""

from importlib import resources

from vpnmesh.criteria.catalogue import CriteriaCatalogue
from vpnmesh.criteria.parse import CRITERIA_FILE, parse
from vpnmesh.errors import InputError
from vpnmesh.solutions import SOLUTIONS

_FOLDER = resources.files("vpnmesh.criteria")


def criteria() -> str:
    """The file of criteria that ships with the package."""
    return _FOLDER.joinpath(CRITERIA_FILE).read_text("utf-8")


def statements() -> dict[str, str]:
    """The statements on each VPN, as texts by file name: one file of ours, or what a solution brings itself.

    InputError where both do: which of them counts would be chance.
    """
    files = sorted(_FOLDER.joinpath("statements").iterdir(), key=lambda one: one.name)
    found = {one.name: one.read_text("utf-8") for one in files if one.name.endswith(".yaml")}
    for name, solution in SOLUTIONS.items():
        if not solution.statements:
            continue
        if f"{name}.yaml" in found:
            raise InputError(
                f"solution {name}", "brings statements that the project has", "delete its `statements`"
            )
        found[f"{name}.yaml"] = solution.statements
    return found


def load() -> CriteriaCatalogue:
    """Criteria, VPNs and all that is known of them."""
    return parse(criteria(), statements())


def not_judged(catalogue: CriteriaCatalogue) -> tuple[str, ...]:
    """The VPNs that can be measured and of which nobody has stated anything."""
    judged = {product.id for product in catalogue.products}
    return tuple(name for name, one in SOLUTIONS.items() if one.is_vpn and name not in judged)
