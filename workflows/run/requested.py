"""What a run was asked to do, read back from its manifest: no node is needed for that, and none of Nornir is loaded."""

from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from vpnmesh.documents.validation import first_problem
from vpnmesh.errors import InputError
from vpnmesh.study.manifest import Manifest
from vpnmesh.study.profile import Profile

PROFILE = TypeAdapter(Profile)


class RunRequest(NamedTuple):
    """What a run was asked to do, as its manifest has it."""

    profile: Profile
    seed: int
    inventory: str


def read_request(manifest: Manifest, place: str) -> RunRequest:
    """Profile, seed and inventory of a run; InputError if the manifest lacks them."""
    where = f"{place}/manifest.json"
    for key in ("profile", "seed", "inventory"):
        if getattr(manifest, key) is None:
            raise InputError(where, f"no run that can be resumed: {key} is missing")
    try:
        profile = PROFILE.validate_python(manifest.profile)
    except ValidationError as error:
        key, problem = first_problem(error)
        said = f"profile{key and f': {key}'} {problem}"
        raise InputError(where, f"no run that can be resumed: {said}") from error
    return RunRequest(profile, int(manifest.seed or 0), str(manifest.inventory))
