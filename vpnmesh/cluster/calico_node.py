"""Calico's programs on a node: who they are to the API, how the node is registered, Felix, and taking all of it away.

Of the vendor's image, whose scripts start one program after the other, only what VXLAN needs is run: `-startup` once,
the tunnel's address once, and Felix for good. BGP's programs, and those that follow addresses and tokens as they
change, are not.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence

import yaml

from vpnmesh.cluster.networking import CNI_CONFIGURATION
from vpnmesh.cluster.places import PLUGIN_PLACES
from vpnmesh.cluster.protocol import Cluster
from vpnmesh.errors import CheckError
from vpnmesh.host.leftovers import find, remove
from vpnmesh.host.pods import GATEWAY, VXLAN
from vpnmesh.host.service import RUN_DIRECTORY, Service, removed, until
from vpnmesh.host.strangers import KUBERNETES
from vpnmesh.model import Node
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Text, WriteFile, reveal, unified_diff
from vpnmesh.solutions.protocol import STATE_DIRECTORY

FELIX = "calico-felix"
STARTED = f"{RUN_DIRECTORY}/calico-startup"
"""Holds the digest of how the node was registered."""
STATE = f"{STATE_DIRECTORY}/calico-node"
KUBECONFIG = f"{STATE}/kubeconfig"
CONFLIST = f"{CNI_CONFIGURATION}/10-calico.conflist"
STAND_INS = f"{STATE}/bin"
"""What Felix finds in place of the programs of iptables' old kernel interface.

Only asking them makes their tables in the kernel, nat's among them, which switches connection tracking on and stays.
"""
FOLDERS = ("/run/calico/endpoint-status", "/var/lib/calico", RUN_DIRECTORY)
"""What Felix and the CNI plugin expect to be there: in a container, mounts make them."""
PATHS = (STARTED, STATE, CONFLIST, "/run/calico", "/var/lib/calico", "/var/log/calico")
HEALTH_PORT = 9099
STARTUP_S = 60.0
FELIX_S = 60.0
PLUGIN_PATH = ":".join(reversed(PLUGIN_PLACES))
"""In the order in which the runtime takes one of several."""
IPAM_SAYS = "Calico CNI IPAM"
PLUGIN_SAYS = "Calico CNI plugin"
RULES = "cali[-:]"
"""Of the names of Felix's chains and the marks of its rules in iptables' tables."""

# constant scripts; everything variable comes as an argument
_SAYS = 'PATH="$0:$PATH"; unset CNI_COMMAND; timeout 10 "$1" 2>&1 < /dev/null'
# the cheap question first: the program is large, and is asked many times
_READY = 'ip link show "$0" && calico-node -felix-ready'
_LEFT = """
ls /sys/class/net | grep -E '^(cali|vxlan-v6.calico$)'
ip route show proto 80 2> /dev/null
ip route show "$1/32" 2> /dev/null | grep -v ' cali'
nft list tables 2> /dev/null | grep ' calico'
ipset list -n 2> /dev/null | grep '^cali'
true
"""
_CLEAN = """
for link in $(ls /sys/class/net | grep -E '^(cali|vxlan-v6.calico$)'); do ip link delete "$link"; done
ip route flush proto 80
ip route delete "$1/32"
nft list tables | grep ' calico' | while read -r _ family name; do nft delete table "$family" "$name"; done
for set in $(ipset list -n | grep '^cali'); do ipset destroy "$set"; done
rm -f "$2"; rmdir "${2%/*}" /etc/cni
true
"""


def whole_programs() -> Fact[Plan]:
    """That the CNI plugins are what their names say; nothing is ever to be done about it.

    Some builds have two programs, others one that goes by its name. A copy of the former's `calico` as `calico-ipam`
    takes itself for its address manager and calls itself without end.
    """
    asks = tuple(Command(("sh", "-c", _SAYS, PLUGIN_PATH, name)) for name in ("calico", "calico-ipam"))

    def plan(completed: Sequence[Completed]) -> Plan:
        for name, one, wanted in zip(
            ("calico", "calico-ipam"), completed, (PLUGIN_SAYS, IPAM_SAYS), strict=True
        ):
            said = (one.stdout + one.stderr).strip()
            if wanted not in said:
                raise CheckError("cluster", _wrong_program(name, said, wanted))
        return Plan()

    return Fact(asks, plan)


def _wrong_program(name: str, said: str, wanted: str) -> str:
    if name == "calico-ipam" and PLUGIN_SAYS in said:
        return (
            "calico-ipam is a copy of calico and would call itself without end; install the release's own "
            "calico-ipam in /opt/cni/bin"
        )
    last = said.splitlines()[-1] if said else "nothing"
    return f"{name} says '{last}' of itself, not '{wanted}'; install the release's own {name} in /opt/cni/bin"


def stand_ins() -> tuple[WriteFile, ...]:
    """They say that there is nothing in the old interface."""
    names = ("iptables-legacy-save", "ip6tables-legacy-save")
    return tuple(WriteFile(f"{STAND_INS}/{name}", "#!/bin/sh\n", mode=0o755) for name in names)


def kubeconfig(cluster: Cluster, authority: Text, token: Text) -> Secret:
    """Who Calico's programs are to the API server."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": cluster.server, "certificate-authority-data": reveal(authority)},
            }
        ],
        "users": [{"name": "u", "user": {"token": reveal(token)}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    return Secret(yaml.safe_dump(document, sort_keys=False))


def account_of(encoded: Mapping[str, str]) -> dict[str, Text]:
    """What of the account's Secret the nodes need, as the API gives it."""
    if not encoded.get("token"):
        raise CheckError("cluster", "the API server gave Calico's account no token")
    return {
        "calico-token": Secret(base64.b64decode(encoded["token"]).decode()),
        "calico-authority": encoded["ca.crt"],
    }


def prepared(node: Node, files: Sequence[WriteFile]) -> Fact[Plan]:
    """Ensure folders and files, and a route to the pods' gateway where the node has no default route.

    Felix lets the node answer for the gateway (proxy_arp), which the kernel does only for what it has a route to.
    """
    asks = (
        *(Command(("cat", file.path), ok=(0, 1)) for file in files),
        Command(("ip", "route", "get", GATEWAY), ok=(0, 1, 2)),
        *(Command(("test", "-d", folder), ok=(0, 1)) for folder in FOLDERS),
    )

    def plan(completed: Sequence[Completed]) -> Plan:
        held, route, folders = completed[: len(files)], completed[len(files)], completed[len(files) + 1 :]
        lacking = tuple(
            file
            for file, one in zip(files, held, strict=True)
            if one.exit_code or one.stdout != reveal(file.content)
        )
        missing = [name for name, one in zip(FOLDERS, folders, strict=True) if one.exit_code]
        steps = (Command(("mkdir", "-p", *missing)),) if missing else ()
        way = () if route.exit_code == 0 else (_gateway(node),)
        diffs = [f"+folder {name}" for name in missing] + [f"+route {GATEWAY}" for _ in way]
        diffs += [unified_diff(file.path, None, file.content) for file in lacking]
        return Plan((*steps, *lacking, *way), "\n".join(diffs))

    return Fact(asks, plan)


def _gateway(node: Node) -> Command:
    # nothing is ever sent that way: any interface but the pods' own will do
    return Command(("ip", "route", "replace", f"{GATEWAY}/32", "dev", node.leg.interface))


def environment(cluster: Cluster, node: Node) -> dict[str, str]:
    """What all of Calico's programs are told."""
    return {
        "DATASTORE_TYPE": "kubernetes",
        "KUBECONFIG": KUBECONFIG,
        "NODENAME": node.name,
        "CALICO_NETWORKING_BACKEND": "vxlan",
        "CALICO_DISABLE_FILE_LOGGING": "true",
        "CLUSTER_TYPE": "k8s",
        "IP": "autodetect",
        "IP_AUTODETECTION_METHOD": f"interface=^{cluster.interface(node)}$",
        "IP6": "none",
        "NO_DEFAULT_POOLS": "true",
        "WAIT_FOR_DATASTORE": "true",
    }


def registered(cluster: Cluster, node: Node) -> Fact[Plan]:
    """Ensure that the node is known to Calico with the address of its interface, and has its tunnel address.

    For another underlay it is done again: peers take the new address within a second.
    """
    words = tuple(f"{key}={value}" for key, value in sorted(environment(cluster, node).items()))
    wanted = hashlib.sha256("\0".join((*words, str(cluster.address(node)))).encode()).hexdigest()[:16]
    run_once = ("-allocate-tunnel-addrs", "-allocate-tunnel-addrs-run-once")

    def plan(completed: Sequence[Completed]) -> Plan:
        held = completed[0].stdout if completed[0].exit_code == 0 else ""
        if held == wanted:
            return Plan()
        steps = (
            Command(("env", *words, "calico-node", "-startup"), timeout_s=STARTUP_S),
            Command(("env", *words, "calico-node", *run_once), timeout_s=STARTUP_S),
            WriteFile(STARTED, wanted),
        )
        return Plan(steps, unified_diff("calico-node -startup", held, "\n".join((*words, wanted))))

    return Fact((Command(("cat", STARTED), ok=(0, 1)),), plan)


def felix(cluster: Cluster, node: Node) -> Service:
    """The daemon that makes `vxlan.calico`, routes, neighbours and the pods' rules; another MTU starts it anew."""
    told = {
        "DATASTORETYPE": "kubernetes",
        "FELIXHOSTNAME": node.name,
        "VXLANMTU": str(cluster.network.mtu),
        "HEALTHENABLED": "true",
        "HEALTHHOST": "127.0.0.1",
        "HEALTHPORT": str(HEALTH_PORT),
        "IPV6SUPPORT": "false",
        "DEFAULTENDPOINTTOHOSTACTION": "ACCEPT",
        # rules in a table of its own, as kube-proxy has them: removed at one stroke
        "NFTABLESMODE": "Enabled",
        "IPTABLESBACKEND": "NFT",
        # Felix refuses to start with rp_filter 2, which distributions set
        "IGNORELOOSERPF": "true",
        # both need eBPF, which a build without cgo has not
        "XDPENABLED": "false",
        # read as it is written here, unlike all the others
        "DebugSkipCTLBCleanup": "true",
        # it would ask the vendor's server for a newer version
        "USAGEREPORTINGENABLED": "false",
        "LOGFILEPATH": "none",
        "LOGSEVERITYFILE": "none",
        "LOGSEVERITYSYS": "none",
        "LOGSEVERITYSCREEN": "Warning",
    }
    variables = {**environment(cluster, node), **{f"FELIX_{key}": value for key, value in told.items()}}
    ready = until("sh", "-c", _READY, VXLAN, deadline_s=FELIX_S)
    return Service(FELIX, ("calico-node", "-felix"), environment=variables, ready=ready, folder=STAND_INS)


def left() -> Fact[Plan]:
    """Remove all that Calico made on the node: Felix, interfaces, routes, rules, sets, files."""
    return removed(
        (FELIX,),
        PATHS,
        interfaces=(VXLAN,),
        strangers=(*KUBERNETES, "calico-node"),
        find=(Command(("sh", "-c", _LEFT, "sh", GATEWAY)), find(RULES)),
        cleanup=(Command(("sh", "-c", _CLEAN, "sh", GATEWAY, CONFLIST)), remove(RULES)),
    )
