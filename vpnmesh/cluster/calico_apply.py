"""Objects of the Kubernetes API as values, and the plan that brings them there with kubectl: nothing where they are."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff

Manifest = Mapping[str, Any]
"""One object as YAML has it."""
Kubectl = tuple[str, ...]
"""How kubectl is called on the master, as an administrator."""
FIELD_MANAGER = "vpnmesh"
APPLY_S = 60.0


def dumped(manifests: Sequence[Manifest]) -> str:
    """The objects as one YAML stream."""
    return yaml.safe_dump_all(manifests, sort_keys=False, explicit_start=True)


def applied(kubectl: Kubectl, name: str, manifests: Sequence[Manifest], *after: Command) -> Fact[Plan]:
    """Ensure that the API has these objects with at least these fields; `after` is run once they were changed.

    Where the API does not know a kind yet, or does not answer, all of them are taken as missing.
    """
    ask = Command(
        (*kubectl, "get", "-f", "-", "-o", "json", "--ignore-not-found"), dumped(manifests), APPLY_S, (0, 1)
    )

    def plan(completed: Sequence[Completed]) -> Plan:
        found = _by_identity(_items(completed[0]))
        lacking = [one for one in manifests if not contains(found.get(_identity(one), {}), one)]
        if not lacking:
            return Plan()
        before = [_alike(found[_identity(one)], one) for one in lacking if _identity(one) in found]
        return Plan((_apply(kubectl, lacking), *after), unified_diff(name, dumped(before), dumped(lacking)))

    return Fact((ask,), plan)


def contains(found: Any, wanted: Any) -> bool:
    """Whether an object has all fields that are wanted; a server adds more of its own."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            contains(found.get(key), value) for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        alike = isinstance(found, list) and len(found) == len(wanted)
        return alike and all(contains(one, other) for one, other in zip(found, wanted, strict=True))
    return bool(found == wanted)


def _apply(kubectl: Kubectl, manifests: Sequence[Manifest]) -> Command:
    # by the server: kubectl's own note of what it applied does not hold the operator's large definitions
    options = ("--server-side", "--force-conflicts", "--field-manager", FIELD_MANAGER)
    return Command((*kubectl, "apply", *options, "-f", "-"), dumped(manifests), APPLY_S)


def _items(completed: Completed) -> list[Manifest]:
    if completed.exit_code or not completed.stdout.strip():
        return []
    said = json.loads(completed.stdout)
    return list(said["items"]) if said.get("kind") == "List" else [said]


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _by_identity(manifests: Sequence[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    return {_identity(one): one for one in manifests}


def _alike(found: Any, wanted: Any) -> Any:
    """Of what is there only what is also wanted, for a diff that shows what changes."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return {key: _alike(found[key], value) for key, value in wanted.items() if key in found}
    if isinstance(wanted, list | tuple) and isinstance(found, list):
        return [_alike(one, other) for one, other in zip(found, wanted, strict=False)] + found[len(wanted) :]
    return found
