"""What nodes, VPNs, clusters, firewalls and switches say: a path has its end in the words, rules are as they are."""

import base64
import json
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any

from inventory.load import load
from tests.fuzz import mutation
from tests.fuzz.target import Case, Target
from tests.fuzz.tool_output import CAPTURED
from tests.solutions.meshes import mesh_of, named_keys
from tests.why.said import DAEMONS, ETHTOOL, LINKS, MACHINE, NFT, PROBED, ROUTES, SS, TCP
from vpnmesh.cluster import calico_status, reading
from vpnmesh.doctor import questions
from vpnmesh.errors import readable
from vpnmesh.firewall import nftables, pfsense_config, pfsense_php, pfsense_rest
from vpnmesh.firewall.pfsense_objects import Mark, objects
from vpnmesh.firewall.policy import policy_named, resolve
from vpnmesh.host import links, pods, stack_in_use
from vpnmesh.model import Path, Testbed
from vpnmesh.plan import Completed, Fact
from vpnmesh.solutions import headscale, nebula, netbird, netmaker, wireguard, zerotier
from vpnmesh.solutions.protocol import Mesh, Peer, Status
from vpnmesh.switch.access import SYSTEMS, AccessPort
from vpnmesh.why import questions as why_questions

Said = dict[str, str]
"""What was said, by file or command; "" is which seed it is."""


@cache
def lab() -> Testbed:
    """The lab's testbed."""
    return load("lab")[1]


def _json_files(rng: Random, said: Said) -> Said:
    kept = {name: text for name, text in said.items() if name}
    changed = mutation.one_of(kept, lambda rng, text, _name: mutation.json_text(rng, text), rng)
    return {**changed, "": said.get("", "")}


def _plain_files(rng: Random, said: Said) -> Said:
    kept = {name: text for name, text in said.items() if name}
    changed = mutation.one_of(kept, lambda rng, text, _name: mutation.text(rng, text), rng)
    return {**changed, "": said.get("", "")}


def _path_problem(said: Said, peers: Sequence[Peer], names: Sequence[str]) -> str:
    """Every other member once and in order; a path has its end, and the end is in the words."""
    if [one.name for one in peers] != list(names):
        return f"peers: {peers}"
    for one in peers:
        if one.path is Path.DIRECT and one.endpoint is None:
            return f"no end: {one}"
        relay = lab().relay.underlay
        if one.endpoint and one.endpoint != relay and str(one.endpoint) not in "".join(said.values()):
            return f"invented: {one}"
    return ""


def _other_path(case: Case[Said], before: Sequence[Peer], now: Sequence[Peer]) -> str:
    """Words that were cut off name no other path than the whole ones."""
    same = [name for name in case.before if case.before[name] == case.value.get(name)]
    cut = all(name in same or case.before[name].startswith(case.value.get(name, "x")) for name in case.before)
    if not cut:
        return ""
    wrong = [one for one, was in zip(now, before, strict=True) if one.path not in (None, was.path)]
    return f"another path of words cut off: {wrong[0]}" if wrong else ""


def _peers(
    name: str, seeds: Callable[[], Sequence[Said]], read: Callable[[Said], Sequence[Peer]]
) -> Target[Said]:
    def judge(case: Case[Said], found: Sequence[Peer]) -> str:
        wanted = [one.name for one in read(case.before)]
        return _path_problem(case.value, found, wanted) or _other_path(case, read(case.before), found)

    return Target(name, cache(seeds), _json_files, read, judge, share=1.5)


def _tailscale() -> list[Said]:
    found = []
    for path in sorted((CAPTURED / "tailscale").glob("*-worker1.json")):
        text = path.read_text()
        keys = {entry["HostName"]: entry["PublicKey"] for entry in json.loads(text)["Peer"].values()}
        scenario = path.name.removesuffix("-worker1.json")
        found.append({"": scenario.removesuffix("-2023"), "status": named_keys(text, keys)})
    return found


def _netbird() -> list[Said]:
    found = []
    for path in sorted((CAPTURED / "netbird").glob("*-worker1.json")):
        text = path.read_text()
        details = json.loads(text)["peers"]["details"]
        keys = {entry["fqdn"].split(".")[0]: entry["publicKey"] for entry in details}
        found.append({"": path.name.removesuffix("-worker1.json"), "status": named_keys(text, keys)})
    return found


def _zerotier() -> list[Said]:
    return [
        {"": path.name.removesuffix("-worker1.json"), "peers": path.read_text()}
        for path in sorted((CAPTURED / "zerotier").glob("*-worker1.json"))
    ]


def _zerotier_mesh(scenario: str) -> Mesh:
    identities = json.loads((CAPTURED / "zerotier" / f"{scenario}-identities.json").read_text())
    return mesh_of(lab(), scenario, {(name, "identity"): text for name, text in identities.items()})


def _nebula() -> list[Said]:
    return [
        {"": f"nebula-{'relay' if 'relayed' in path.parent.name else 'direct'}", "hostmap": path.read_text()}
        for path in sorted((CAPTURED / "nebula").glob("*/stdout"))
    ]


def _status(parse: Callable[..., Sequence[Peer]], part: str) -> Callable[[Said], Sequence[Peer]]:
    def read(said: Said) -> Sequence[Peer]:
        return parse(mesh_of(lab(), said[""]), lab().node("worker1"), said.get(part, ""))

    return read


def _read_zerotier(said: Said) -> Sequence[Peer]:
    return zerotier.parse_peers(_zerotier_mesh(said[""]), lab().node("worker1"), said.get("peers", ""))


def _exchanges(*places: str) -> list[Said]:
    """Captured exchanges: what each command of a fact printed, by its number."""
    found = []
    for place in places:
        said = json.loads((CAPTURED / place / "exchange.json").read_text())
        found.append({str(number): one["stdout"] for number, one in enumerate(said)})
    return found


def _answered(fact: Fact[Any], said: Said) -> Any:
    """The fact read as tasks read it; what is lost was never printed."""
    return fact.read([
        Completed(command.argv, 0 if str(i) in said else 1, said.get(str(i), ""), "")
        for i, command in enumerate(fact.commands)
    ])  # fmt: skip


@cache
def _wireguard_fact() -> Fact[Status]:
    keys = json.loads((CAPTURED / "wireguard" / "public-keys.json").read_text())
    mesh = mesh_of(lab(), "wireguard-direct", {(node, "public-key"): key for node, key in keys.items()})
    return wireguard.WireGuard().status(mesh, lab().node("worker1"))


def _wireguard_judge(case: Case[Said], found: Status) -> str:
    before: Status = _answered(_wireguard_fact(), case.before)
    wanted = [one.name for one in before.peers]
    if found.mtu is not None and str(found.mtu) not in "".join(case.value.values()):
        return f"invented: MTU {found.mtu}"
    return _path_problem(case.value, found.peers, wanted) or _other_path(case, before.peers, found.peers)


NETMAKER = {
    "allowed": "key-of-k8s-master\t10.213.0.1/32\nkey-of-relay\t10.213.0.3/32\nkey-of-worker2\t10.213.0.4/32\n",
    "ends": "key-of-k8s-master\t192.88.99.2:51821\nkey-of-relay\t192.88.99.26:51821\nkey-of-worker2\t(none)\n",
    "seen": "key-of-k8s-master\t1795554834\nkey-of-relay\t1795554834\nkey-of-worker2\t0\n",
}


def _read_netmaker(said: Said) -> Sequence[Peer]:
    addresses = {
        (name, "address"): f"10.213.0.{n}" for n, name in ((1, "k8s-master"), (3, "relay"), (4, "worker2"))
    }
    mesh = mesh_of(lab(), "netmaker-direct", addresses)
    tables = [
        netmaker._table(Completed((), 0, said.get(name, ""), "")) for name in ("allowed", "ends", "seen")
    ]
    with readable("wg"):
        return netmaker.parse_peers(mesh, lab().node("worker1"), *tables)


def _kube() -> list[Said]:
    node = {
        "metadata": {"name": "worker1"},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.213.0.2"}],
            "nodeInfo": {"kubeletVersion": "v1.34.4"},
        },
    }
    pod = {
        "metadata": {"name": "measured-worker1", "namespace": "vpnmesh"},
        "spec": {"nodeName": "worker1"},
        "status": {
            "phase": "Pending",
            "podIP": "10.136.0.65",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
            "containerStatuses": [{"ready": False, "state": {"waiting": {"reason": "ErrImageNeverPull"}}}],
        },
    }
    event = {
        "involvedObject": {"name": "measured-worker1"},
        "reason": "FailedMount",
        "message": "no such volume",
        "lastTimestamp": "2026-11-28T10:00:00Z",
    }
    return [{str(i): json.dumps({"items": [one, one]}) for i, one in enumerate((node, pod, event))}]


def _ready_judge(case: Case[Said], found: Any) -> str:
    """A node is ready only where an answer says `"True"` of it; nothing that cannot be shown."""
    if any(one.ready for one in found.nodes) and '"True"' not in case.value.get("0", ""):
        return f"invented: {found.nodes}"
    texts = [found.unreachable, *(one.name for one in found.nodes), *(one.name for one in found.pods)]
    return f"no text: {texts}" if not all(isinstance(one, str) for one in texts) else ""


def _calico() -> list[Said]:
    status = {
        "metadata": {"name": "calico"},
        "status": {"conditions": [{"type": "Available", "status": "False"}, {"type": "Degraded", "status": "True",
                                                                            "message": "no nodes"}]},
    }  # fmt: skip
    daemons = {"status": {"desiredNumberScheduled": 3, "numberReady": 1}}
    waiting = {"ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    pod = {"metadata": {"name": "x"}, "spec": {}, "status": {"containerStatuses": [waiting]}}
    return [
        {"0": json.dumps({"items": [status]}), "1": json.dumps(daemons), "2": json.dumps({"items": [pod]})}
    ]


_EXPRESSIONS = (
    [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": {"set": ["vlan10", "vlan20"]}}},
     {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "192.88.99.2"}},
     {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 51820}},
     {"counter": {"packets": 3, "bytes": 300}}, {"drop": None}],
    [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}},
     {"match": {"op": "==", "left": {"ct": {"key": "direction"}}, "right": "reply"}}, {"accept": None}],
    [{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "udp"}}, {"accept": None}],
)  # fmt: skip


def _nft() -> list[Said]:
    rules: list[Any] = [{"rule": {"chain": "verdicts", "expr": one}} for one in _EXPRESSIONS]
    armed = {"set": {"name": "armed", "elem": [{"elem": {"val": "vlan10", "expires": 60}}]}}
    return [{"0": json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, armed, *rules]})}]


def _nft_judge(case: Case[Said], found: nftables.LoadedRules) -> str:
    """No rule vanishes: what is not understood is a foreign rule."""
    if "0" not in case.value:
        return ""
    loaded = json.loads(case.value["0"])["nftables"]
    rules = [one for one in loaded if "rule" in one]
    return f"lost: {len(found.lines)} of {len(rules)}" if len(found.lines) < len(rules) else ""


@cache
def _pfsense() -> list[Said]:
    mark = Mark("20260101-120000")
    made = objects(resolve(policy_named("block-udp-k8s"), lab()), lab(), mark, schedule=True)
    rules = [{"id": i, **pfsense_rest.rule_body(one)} for i, one in enumerate(made.rules)]
    aliases = [{"id": i, **pfsense_rest.alias_body(one)} for i, one in enumerate(made.aliases)]
    foreign = {
        "id": 9,
        "descr": "somebody's",
        "type": "pass",
        "floating": True,
        "quick": True,
        "interface": ["lan"],
    }
    return [{"rules": json.dumps([*rules, foreign]), "aliases": json.dumps(aliases), "revisions": json.dumps(
        [{"time": 1795554834, "description": "admin"}])}]  # fmt: skip


def _pfsense_call(said: Said) -> object:
    """What the driver makes of the lists: a plan for each policy, and what a roll back would delete."""
    mark = Mark("20260101-120000")
    with readable("pfSense"):
        held = pfsense_config.PfsenseConfig(
            pfsense_rest.entries(json.loads(said.get("rules", "null"))),
            pfsense_rest.entries(json.loads(said.get("aliases", "null"))),
            None, None, None,
        )  # fmt: skip
        pfsense_rest.newest_revision(json.loads(said.get("revisions", "null")))
        back = pfsense_rest.roll_back(held, mark)
        made = objects(resolve(policy_named("block-udp-k8s"), lab()), lab(), mark, schedule=False)
        return SimpleNamespace(held=held, back=back, plan=pfsense_rest.plan(held, made, mark))


def _pfsense_judge(_case: Case[Said], found: Any) -> str:
    """Nothing that is not this run's is ever deleted."""
    ours = {one.place for part in (found.held.rules, found.held.aliases) for one in part
            if one.descr.startswith("vpnmesh:20260101-120000:")}  # fmt: skip
    deleted = [
        dict(one.query).get("id")
        for one in found.back
        if one.method == "DELETE" and dict(one.query).get("id")
    ]
    strange = [one for one in deleted if int(str(one)) not in ours]
    return f"deletes what is not ours: {strange}" if strange else ""


def _php() -> list[Said]:
    answer = {
        "sections": {"rules": [{"descr": "x"}], "aliases": [], "schedules": [], "mappings": []},
        "mode": "hybrid", "revision": {"time": "1", "description": "y"}, "time": 1795554834, "pending": False,
    }  # fmt: skip
    return [{"answer": json.dumps(answer)}]


def _php_call(said: Said) -> object:
    text = said.get("answer", "")
    line = "vpnmesh-answer " + base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    return pfsense_php.parse(f"noise\n{line}\n")


_SWITCH = {
    "cisco_iosxe": "interface Gi1/0/1\n description vlan 7\n switchport access vlan 20\n switchport mode access\n!",
    "arista_eos": "interface Ethernet1\n switchport access vlan 20\n!",
    "cisco_nxos": "interface Ethernet1/1\n switchport mode trunk\n switchport trunk allowed vlan 10,20\n",
    "juniper_junos": "set interfaces ge-0/0/1 unit 0 family ethernet-switching interface-mode access\n"
    "set interfaces ge-0/0/1 unit 0 family ethernet-switching vlan members 20\n",
    "linux_bridge": '[{"ifname":"p","vlans":[{"vlan":20,"flags":["PVID","Egress Untagged"]}]}]',
}


def _switch_call(said: Said) -> AccessPort:
    with readable("switch"):
        return SYSTEMS[said[""]].read("p", said.get("shown", ""))


def _switch_mutate(rng: Random, said: Said) -> Said:
    return (_json_files if said[""] == "linux_bridge" else _plain_files)(rng, said)


def _switch_judge(case: Case[Said], found: AccessPort) -> str:
    if found.vid is not None and (isinstance(found.vid, bool) or not 1 <= found.vid <= 4094):
        return f"no VLAN: {found}"
    if found.vid is not None and str(found.vid) not in case.value.get("shown", ""):
        return f"invented: {found}"
    return ""


def _ss() -> list[Said]:
    folder = CAPTURED / "ss" / "derp-relay"
    return [
        {
            "0": (folder / "tcp.txt").read_text(),
            "1": (folder / "udp.txt").read_text(),
            "2": "a: on\ntcp-segmentation-offload: on\n",
        }
    ]


def _ss_fact() -> Fact[dict[str, str]]:
    return stack_in_use.in_use(("derper", "tailscaled"), ("tailscale0",))


def _path_state() -> list[Said]:
    texts = (
        json.dumps(LINKS),
        ETHTOOL,
        json.dumps(NFT),
        SS,
        TCP,
        DAEMONS,
        ROUTES,
        MACHINE,
        '[{"mtu": 1230}]',
    )
    return [{str(number): text for number, text in enumerate(texts)}]


def _path_state_fact() -> Fact[Any]:
    return why_questions.state(why_questions.Watched(("eth0",), ("tailscaled",)))


def _probed_fact() -> Fact[Any]:
    return why_questions.probe({"seconds": 1})


def _fact(name: str, fact: Callable[[], Fact[Any]], seeds: Callable[[], Sequence[Said]], judge: Any,
          mutate: Any = _json_files, share: float = 1.0) -> Target[Said]:  # fmt: skip
    return Target(name, cache(seeds), mutate, lambda said: _answered(fact(), said), judge, share)


def _nothing(_case: Case[Any], _found: object) -> str:
    return ""


def _mtu_judge(case: Case[Said], found: int | None) -> str:
    return f"invented: {found}" if found is not None and str(found) not in case.value["0"] else ""


TARGETS: tuple[Target[Any], ...] = (
    _peers("tailscale status", _tailscale, _status(headscale.parse_status, "status")),
    _peers("netbird status", _netbird, _status(netbird.parse_status, "status")),
    _peers("zerotier peers", _zerotier, _read_zerotier),
    _peers("nebula hostmap", _nebula, _status(nebula.parse_hostmap, "hostmap")),
    Target("netmaker wg", lambda: (NETMAKER,), _plain_files, _read_netmaker,
           lambda case, found: _path_problem(case.value, found, [p.name for p in _read_netmaker(NETMAKER)])),
    _fact("wg status", _wireguard_fact, lambda: _exchanges("wireguard/status"), _wireguard_judge,
          lambda rng, said: (_json_files if rng.random() < 0.5 else _plain_files)(rng, said), 1.5),
    _fact("pods held", pods.held, lambda: _exchanges("pods/native-1450", "pods/wireguard-1230"), _nothing),
    _fact("pod MTU", pods.pod_mtu, lambda: [{"0": '[{"ifname":"eth0","mtu":1450}]'}], _mtu_judge, share=0.3),
    _fact("ip address", lambda: links.interface_fact("tun0"), lambda: [
        {"0": '[{"ifname":"tun0","mtu":1280,"linkinfo":{"info_kind":"tun"},"addr_info":[{"family":"inet",'
              '"local":"10.213.0.2"}]}]'}], _nothing, share=0.5),
    _fact("state of a path", _path_state_fact, _path_state, _nothing),
    _fact("answers of probes", _probed_fact, lambda: [{"0": json.dumps(PROBED)}], _nothing, share=0.5),
    _fact("tunnels up", questions.tunnels, lambda: [
        {"0": '[{"ifname":"tun0","linkinfo":{"info_kind":"tun"}},{"ifname":"eth0"}]'}], _nothing, share=0.5),
    _fact("ss", _ss_fact, _ss, _nothing, _plain_files, 0.5),
    _fact("kubernetes", lambda: reading.asked(("curl",), "https://x"), _kube, _ready_judge),
    _fact("calico status", lambda: calico_status.operator_state(("kubectl",)), _calico, _nothing),
    _fact("nft list", nftables.held, _nft, _nft_judge),
    Target("pfSense REST", _pfsense, _json_files, _pfsense_call, _pfsense_judge),
    Target("pfSense PHP", cache(_php), _json_files, _php_call, _nothing, 0.5),
    Target("switch", lambda: [{"": name, "shown": text} for name, text in _SWITCH.items()], _switch_mutate,
           _switch_call, _switch_judge),
)  # fmt: skip
