"""NetBox's answers: pages of objects as its API gives them, wrong in any place, read by the real client."""

import json
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from io import BytesIO
from random import Random
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter

from inventory.documents import inventory_of, mapping, names, read_folder
from inventory.load import BUILT_IN, records_of
from inventory.netbox import read_documents
from inventory.netbox_client import NetBox
from tests.fuzz import mutation
from tests.fuzz.documents import testbed_problem
from tests.fuzz.target import Case, Target
from vpnmesh.model import Testbed
from vpnmesh.testbed import build_testbed

Answers = dict[str, str]
URL = "http://netbox.example.org"


@cache
def seeds() -> Sequence[Answers]:
    """The lab as NetBox has it: devices with a primary address each, their ports, prefixes and addresses."""
    lab = read_folder(BUILT_IN / "lab")
    vlans = {
        name.removeprefix("vlan__"): mapping(one.get("data"))
        for name, one in lab.groups.items()
        if "vlan__" in name
    }
    shared = {
        "defaults": lab.defaults,
        "groups": {f"vlan__{vid}": {"data": data} for vid, data in vlans.items()},
    }
    devices, ports, addresses = [], [], []
    for number, (name, host) in enumerate(lab.hosts.items(), start=1):
        groups, data = names(host.get("groups")), mapping(host.get("data"))
        role = next(one.removeprefix("role__") for one in groups if one.startswith("role__"))
        context = {**shared, "position": number, "host": {"data": {"kind": "netns"}}}
        devices.append({
            "id": number, "name": name, "status": {"value": "active"}, "site": {"slug": "lab"}, "role": {"slug": role},
            "platform": {"slug": "linux"}, "tags": [], "primary_ip4": {"address": f"{host['hostname']}/24"},
            "primary_ip6": None, "custom_fields": {"vpnmesh_cores": 4}, "config_context": {"vpnmesh": context},
        })  # fmt: skip
        for vid in (one.removeprefix("vlan__") for one in groups if one.startswith("vlan__")):
            port = 100 * number + int(vid)
            ports.append({
                "id": port, "name": "eth0" if len(vlans) > 1 and "underlay" in data else f"vlan{vid}",
                "untagged_vlan": {"id": int(vid), "vid": int(vid), "name": str(vlans[vid]["name"])},
                "device": {"id": number},
            })  # fmt: skip
            prefix = str(vlans[vid]["prefix"]).partition("/")[2]
            addresses.append({
                "id": port, "address": str(data.get("underlay") or f"{vlans[vid]['gateway']}/{prefix}"), "role": None,
                "assigned_object_type": "dcim.interface", "assigned_object_id": port,
            })  # fmt: skip
    prefixes = [
        {"id": int(vid), "prefix": one["prefix"], "vlan": {"id": int(vid)}} for vid, one in vlans.items()
    ]
    lists = {"dcim/devices": devices, "virtualization/virtual-machines": [], "dcim/interfaces": ports,
             "virtualization/interfaces": [], "ipam/prefixes": prefixes, "ipam/ip-addresses": addresses}  # fmt: skip
    return ({path: _page(rows) for path, rows in lists.items()},)


def _page(rows: object) -> str:
    count = len(rows) if isinstance(rows, list) else 0
    return json.dumps({"count": count, "next": None, "previous": None, "results": rows})


def _mutate(rng: Random, answers: Answers) -> Answers:
    """An answer wrong as a whole, or one of its objects wrong in an answer that is well."""

    def change(rng: Random, text: str, _path: str) -> str:
        if rng.random() < 0.3:
            return mutation.json_text(rng, text)
        return _page(mutation.tree(rng, json.loads(text)["results"]))

    return mutation.one_of(answers, change, rng)


class _Answering(BaseAdapter):
    """In place of the wire."""

    def __init__(self, answers: Answers) -> None:
        super().__init__()
        self.answers = answers

    def send(self, request: requests.PreparedRequest, **_options: Any) -> requests.Response:  # type: ignore[override]
        path = urlsplit(str(request.url)).path.removeprefix("/api/").rstrip("/")
        answer = requests.Response()
        answer.status_code = HTTPStatus.OK if path in self.answers else HTTPStatus.NOT_FOUND
        answer.url, answer.request = str(request.url), request
        answer.headers["Content-Type"] = "application/json"
        answer.raw = BytesIO(self.answers.get(path, "{}").encode("utf-8", "surrogatepass"))
        return answer

    def close(self) -> None:
        return


def read(answers: Answers) -> Testbed:
    """As `--inventory netbox` reads it."""
    netbox = NetBox(URL, "0123456789abcdef0123456789abcdef01234567")
    netbox.session.adapters.clear()
    netbox.session.mount(URL, _Answering(answers))
    found = inventory_of(read_documents(netbox, {}))
    return build_testbed(records_of(found, URL))


def _judge(_case: Case[Answers], found: Testbed) -> str:
    return testbed_problem(found)


TARGETS: tuple[Target[Any], ...] = (Target("NetBox answers", seeds, _mutate, read, _judge, 2.0),)
