"""Files that people write: inventories, scenarios, profiles, criteria, claims, gates, and tables of versions.

Whatever gets through is good for a shell, a path and a page: names are names, addresses are addresses, and no number
is what it was not in the file.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

import yaml

from inventory.load import BUILT_IN, load
from tests.fuzz import mutation
from tests.fuzz.target import ROOT, Case, Target
from vpnmesh.cluster.artifacts import parse_releases
from vpnmesh.criteria import data as criteria_data
from vpnmesh.criteria.catalogue import CriteriaCatalogue
from vpnmesh.criteria.parse import parse as parse_criteria
from vpnmesh.documents.inventory_text import parse_inventory
from vpnmesh.documents.names import (
    environment_problem,
    folder_problem,
    host_problem,
    interface_problem,
    label_problem,
    line_problem,
    slug_problem,
    title_problem,
)
from vpnmesh.host.binaries import parse_paper, parse_products
from vpnmesh.model import Testbed
from vpnmesh.report.judgement.claims import read_claims
from vpnmesh.study.profile import MAX_REPETITIONS, Profile, check_profile
from vpnmesh.study.profiles import PROFILES, profile_of_file
from vpnmesh.study.scenarios import BUILT_IN as SCENARIOS
from vpnmesh.study.scenarios import Catalogue
from vpnmesh.testbed import build_testbed
from workflows.reporting.comparing import read_gate

Files = dict[str, bytes]
PARTS = ("hosts", "groups", "defaults")
FOLDERS = ("lab", "baremetal")


def inventories() -> Sequence[Files]:
    """The inventories that ship."""
    return [{name: (BUILT_IN / one / f"{name}.yaml").read_bytes() for name in PARTS} for one in FOLDERS]


def yaml_files(rng: Random, files: Files) -> Files:
    """One or two of the files made wrong; all of them stay there."""
    changed = mutation.one_of(files, lambda rng, data, _name: mutation.yaml_bytes(rng, data), rng)
    return {**files, **changed}


def read_inventory(files: Files) -> Testbed:
    """As every command reads a folder, without Nornir."""
    text = parse_inventory(files, {name: f"{name}.yaml" for name in PARTS})
    return build_testbed(text.records("hosts.yaml"))


def load_inventory(files: Files) -> Testbed:
    """As every command reads a folder."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / f"{name}.yaml").write_bytes(data)
        return load(folder)[1]


def testbed_problem(found: Testbed) -> str:
    """What no testbed may have, whatever was in the files."""
    named = [(label_problem, one.name) for one in found.nodes]
    named += [(host_problem, one.management) for one in found.nodes]
    named += [(interface_problem, leg.interface) for one in found.nodes for leg in one.legs]
    named += [
        (interface_problem, one.management_interface) for one in found.nodes if one.management_interface
    ]
    named += [(slug_problem, one.site) for one in found.nodes if one.site]
    named += [(title_problem, one.name) for one in found.vlans]
    if bad := [f"{value!r} {problem(value)}" for problem, value in named if problem(value)]:
        return f"a name that is none: {bad[0]}"
    addresses = [leg.address.ip for one in found.nodes for leg in one.legs]
    if len(set(addresses)) < len(addresses) or len({one.name.lower() for one in found.nodes}) < len(
        found.nodes
    ):
        return "twice: an address or a name"
    if any(one.link_mbit_s is not None and not 0 < one.link_mbit_s < float("inf") for one in found.nodes):
        return "no rate: of a link"
    return ""


def _inventory_judge(_case: Case[Files], found: Testbed) -> str:
    return testbed_problem(found)


def _written(case: Case[bytes]) -> set[str]:
    """Every plain value in the YAML as text."""
    found: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, Mapping):
            for key, one in value.items():
                walk(key)
                walk(one)
        elif isinstance(value, list | tuple | set):
            for one in value:
                walk(one)
        else:
            found.add(str(value))

    walk(yaml.safe_load(case.value))
    return found


SCENARIO_FILE = b"""\
zerotier-big:
  variant_of: zerotier-direct
  tunnel_mtu: 1420
netbird-quic:
  variant_of: netbird-relay-tcp
  options: {transport: quic}
mine:
  solution: headscale
  path: direct
  pod_mtu: 1230
  tunnel_mtu: 1280
  policy: allow-all
  data_path: in the kernel
  environment: {TS_DEBUG_X: "1", GOGC: "200"}
  version: '1.98.10'
  program_folder: /opt/tailscale/1.98
"""


def _scenario_judge(case: Case[bytes], found: Catalogue) -> str:
    """Every text of a scenario is fit for a shell, a path and a page; every MTU is one that was written."""
    known = {one.name for one in SCENARIOS.scenarios}
    numbers = _written(case) | {str(n) for one in SCENARIOS.scenarios for n in (one.pod_mtu, one.tunnel_mtu)}
    for one in found.scenarios:
        if one.name in known:
            continue
        problems = [slug_problem(one.name), *map(environment_problem, one.environment)]
        problems += [line_problem(text) for text in (*one.environment.values(), one.data_path) if text]
        problems += [folder_problem(one.program_folder)] if one.program_folder else []
        if any(problems):
            return f"a text that is none: {one}"
        if str(one.pod_mtu) not in numbers or str(one.tunnel_mtu) not in numbers:
            return f"another figure: {one}"
    return ""


PROFILE_FILE = b"""\
mine:
  variant_of: quick
  scenarios: [native-1450, headscale-direct]
  conditions: [none, loss-5pct, delay-50ms+loss-1pct]
  tests: [tcp, udp, ping]
  repetitions_clean: 4
  repetitions_impaired: 6
  duration_s: 2
  blocks: 2
  placement: "underlay:both:1000"
  congestion: bbr
  udp_rate: 100M
  budget_min: 12.5
  adaptive: true
  margin_pct: 5
  pairs: all
  own:
    tcp: {repetitions: 9, conditions: [none]}
"""


_BUDGETS = {one.budget_min for one in PROFILES.values()}


def _profile_call(data: bytes) -> Profile:
    found = profile_of_file(data, "mine.yaml")
    check_profile(found, SCENARIOS)
    return found


def _profile_judge(case: Case[bytes], found: Profile) -> str:
    numbers = (found.repetitions_clean, found.repetitions_impaired, found.blocks, found.duration_s)
    if any(isinstance(one, bool) or one < 1 for one in numbers) or max(numbers[:3]) > MAX_REPETITIONS:
        return f"no count: {numbers}"
    if not 0 < found.margin_pct < 100 or (
        found.budget_min is not None and not 0 < found.budget_min < float("inf")
    ):
        return f"no share: {found.margin_pct} {found.budget_min}"
    if found.budget_min is not None and found.budget_min not in {12.5, *_BUDGETS, *_floats(_written(case))}:
        return f"another figure: {found.budget_min}"
    return ""


def _floats(words: set[str]) -> set[float]:
    found = set()
    for word in words:
        try:
            found.add(float(word))
        except ValueError:
            continue
    return found


@cache
def _statements() -> dict[str, str]:
    return {"criteria": criteria_data.criteria(), **criteria_data.statements()}


def _criteria_seeds() -> Sequence[Files]:
    return [{"criteria": _statements()["criteria"].encode(), name: text.encode()}
            for name, text in _statements().items() if name != "criteria"][:4]  # fmt: skip


def _criteria_call(files: Files) -> object:
    texts = {name: data.decode("utf-8", "replace") for name, data in files.items()}
    return parse_criteria(texts.pop("criteria", ""), texts)


@cache
def _facts() -> CriteriaCatalogue:
    return criteria_data.load()


def _claims_call(data: bytes) -> object:
    return read_claims(data, "claims.yaml", SCENARIOS, _facts())


def _gate_call(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gate.yaml"
        path.write_bytes(data)
        return read_gate(path)


def _gate_judge(_case: Case[bytes], found: Any) -> str:
    good = 0 <= found.margin_pct < 100 and 0 < found.certainty < 1
    return "" if good else f"no gate: {found}"


def _toml(rng: Random, text: str) -> str:
    """A TOML file with values of another kind in it, or no TOML any more."""
    if rng.random() < 0.4:
        return mutation.text(rng, text)
    lines = text.splitlines(keepends=True)
    at = rng.choice([i for i, line in enumerate(lines) if " = " in line])
    odd = rng.choice([one for one in mutation.ODD if one is not None])
    try:
        value = json.dumps(odd, ensure_ascii=True)
    except ValueError:
        value = "nan"
    lines[at] = f"{lines[at].split(' = ')[0]} = {value}\n"
    return "".join(lines)


def _package(name: str, module: str) -> Callable[[], Sequence[str]]:
    return lambda: (resources.files(module).joinpath(name).read_text(encoding="utf-8"),)


def _https_judge(_case: Case[str], found: Any) -> str:
    """Nothing is ever fetched but over TLS."""
    links = [link for one in (found.values() if isinstance(found, dict) else found) for link in _links(one)]
    bad = [link for link in links if link and not link.startswith("https://")]
    return f"not https: {bad[0]}" if bad else ""


def _links(one: Any) -> list[str]:
    said = one.model_dump() if hasattr(one, "model_dump") else {}
    return [str(said["url"])] if said.get("url") else []


def _products_call(text: str) -> object:
    found = parse_products(text)
    parse_paper(text)
    return found


def _nothing(_case: Case[Any], _found: object) -> str:
    return ""


def _named(path: str) -> Callable[[], Sequence[bytes]]:
    return lambda: ((ROOT / path).read_bytes(),)


TARGETS: tuple[Target[Any], ...] = (
    Target("inventory", cache(inventories), yaml_files, read_inventory, _inventory_judge, 2.5),
    Target("inventory folder", cache(inventories), yaml_files, load_inventory, _inventory_judge, 0.5),
    Target("scenario file", lambda: (SCENARIO_FILE,), mutation.yaml_bytes,
           lambda data: SCENARIOS.with_file(data, "mine.yaml"), _scenario_judge, 2.0),
    Target("profile file", lambda: (PROFILE_FILE,), mutation.yaml_bytes, _profile_call, _profile_judge, 2.0),
    Target("criteria", cache(_criteria_seeds), yaml_files, _criteria_call, _nothing, 0.3),
    Target("claims", _named("vpnmesh/reference/claims.yaml"), mutation.yaml_bytes, _claims_call, _nothing, 0.2),
    Target("gate", lambda: (b"margin_pct: 10\ncertainty: 0.95\n",), mutation.yaml_bytes, _gate_call, _gate_judge, 0.5),
    Target("binaries.toml", _package("binaries.toml", "vpnmesh.host"), _toml, _products_call, _https_judge, 0.5),
    Target("versions.toml", _package("versions.toml", "vpnmesh.cluster"), _toml, parse_releases, _https_judge, 0.5),
)  # fmt: skip
