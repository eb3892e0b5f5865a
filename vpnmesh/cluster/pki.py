"""Certificates of a cluster, made on its nodes for this run alone: EC keys that never leave the node they are made on.

The authority and the control plane's keys are the master's. Every node makes keys of its own and publishes requests
(public); the master publishes certificates (public too).
"""

from collections.abc import Mapping, Sequence

from vpnmesh.cluster.places import AUTHORITY, PKI, STATE
from vpnmesh.cluster.protocol import Cluster
from vpnmesh.host.service import content, made
from vpnmesh.model import Node
from vpnmesh.plan import Command, Completed, Fact, Plan, Text, WriteFile, in_order, unified_diff

VALID_DAYS = 365
CA = f"{PKI}/ca.crt"
ROLES = ("kubelet", "kube-proxy")
"""What on a node has a certificate of its own."""

# constant scripts: all that varies is an argument. None makes the folder that its own is in, and all work inside of
# their own: what a killed controller still had under way ends where somebody removes these
_OUTER_FOLDER = 'umask 077; mkdir -p "$0"'
_ISSUE = """
umask 077
request() {  # key's file, subject: a new key, and a request on stdout
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1" -subj "$2" 2> /dev/null
}
sign() {  # days, names: a request on stdin, its certificate on stdout
  ext="basicConstraints=CA:FALSE\\nkeyUsage=critical,digitalSignature\\nextendedKeyUsage=serverAuth,clientAuth\\n"
  [ -z "$2" ] || ext="${ext}subjectAltName=$2\\n"
  printf "$ext" > extensions
  serial=$(od -An -N8 -tx1 /dev/urandom | tr -d ' ')
  openssl x509 -req -CA ca.crt -CAkey ca.key -set_serial "0x0$serial" -days "$1" -extfile extensions 2> /dev/null
}
"""
_AUTHORITY = (
    _ISSUE
    + """
folder="$1"; days="$2"; rm -rf "$folder"; mkdir "$folder"; cd "$folder"
openssl ecparam -name prime256v1 -genkey -noout -out sa.key; openssl ec -in sa.key -pubout -out sa.pub 2> /dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -days "$days" \
  -subj /CN=vpnmesh-kubernetes -addext keyUsage=critical,keyCertSign,cRLSign -out ca.crt 2> /dev/null
shift 2
while [ $# -gt 0 ]; do
  request "$1.key" "$2" | sign "$days" "$3" > "$1.crt"; shift 3
done
rm -f extensions
"""
)
_KEYS = (
    _ISSUE
    + """
folder="$1"; rm -rf "$folder"; mkdir "$folder"; cd "$folder"; shift
while [ $# -gt 0 ]; do request "$1.key" "$2" > "$1.csr"; shift 2; done
"""
)
_SIGN = (
    _ISSUE
    + """
cd "$1"; mkdir -p issued; sign "$2" "$4" > "issued/$3.new"; mv "issued/$3.new" "issued/$3.crt"; rm -f extensions
"""
)


def authority(cluster: Cluster) -> Fact[Plan]:
    """Ensure on the master: an authority, a key for service accounts, and the control plane's certificates."""
    master = cluster.address(cluster.master)
    first_service = cluster.services[1]
    names = ",".join(
        (
            f"IP:{master}",
            f"IP:{first_service}",
            "IP:127.0.0.1",
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            "DNS:kubernetes.default.svc",
            "DNS:kubernetes.default.svc.cluster.local",
        )
    )
    issued = (
        *("etcd", "/CN=etcd", "IP:127.0.0.1"),
        *("kube-apiserver", "/CN=kube-apiserver", names),
        *("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", ""),
        *("controller-manager", "/CN=system:kube-controller-manager", "IP:127.0.0.1"),
        *("scheduler", "/CN=system:kube-scheduler", "IP:127.0.0.1"),
        *("admin", "/O=system:masters/CN=vpnmesh-admin", ""),
    )
    mark = f"{AUTHORITY}/made-for-{master}"
    script = Command(("sh", "-ec", _AUTHORITY, "sh", AUTHORITY, str(VALID_DAYS), *issued))
    return _made(mark, script, "<an authority, and the control plane's certificates>")


def keys(cluster: Cluster, node: Node) -> Fact[Plan]:
    """Ensure that the node has keys of its own, and requests for certificates."""
    subjects = {
        "kubelet": f"/O=system:nodes/CN=system:node:{node.name}",
        "kube-proxy": "/CN=system:kube-proxy",
    }
    words = tuple(word for role in ROLES for word in (role, subjects[role]))
    mark = f"{PKI}/made-for-{cluster.address(node)}"
    script = Command(("sh", "-ec", _KEYS, "sh", PKI, *words))
    return _made(mark, script, "<new keys>")


def _made(mark: str, script: Command, what: str) -> Fact[Plan]:
    """Ensure that a script was run to its end: the mark is written after it."""
    folder = Command(("sh", "-c", _OUTER_FOLDER, STATE))
    return made(mark, script, what).map(
        lambda plan: Plan((folder, *plan.steps, WriteFile(mark, "made\n")), plan.diff) if plan else plan
    )


def read_requests(cluster: Cluster, node: Node) -> Fact[dict[str, Text]]:
    """The node's requests; of the master the authority's certificate, too."""
    files = {f"{role}-request": f"{PKI}/{role}.csr" for role in ROLES}
    if node.name == cluster.master.name:
        files["ca"] = f"{AUTHORITY}/ca.crt"
    return _read(files)


def signed(cluster: Cluster) -> Fact[Plan]:
    """Ensure on the master that it has signed every node's requests."""

    def plan(node: Node, role: str) -> Fact[Plan]:
        path = f"{AUTHORITY}/issued/{node.name}-{role}.crt"
        names = f"IP:{cluster.address(node)},DNS:{node.name}"
        words = (AUTHORITY, str(VALID_DAYS), f"{node.name}-{role}", names)
        script = Command(
            ("sh", "-ec", _SIGN, "sh", *words),
            stdin=cluster.published_by(node.name, f"{role}-request"),
        )
        return made(path, script, "<a certificate>")

    return in_order(*(plan(node, role) for node in cluster.members for role in ROLES))


def read_certificates(cluster: Cluster) -> Fact[dict[str, Text]]:
    """The certificates of all nodes, as the master signed them."""
    files = {
        f"{node.name}-{role}": f"{AUTHORITY}/issued/{node.name}-{role}.crt"
        for node in cluster.members
        for role in ROLES
    }
    return _read(files)


def certificates(cluster: Cluster, node: Node) -> tuple[WriteFile, ...]:
    """The files that the node needs beside its keys."""
    master = cluster.master.name
    return (
        WriteFile(CA, cluster.published_by(master, "ca"), mode=0o644),
        *(
            WriteFile(f"{PKI}/{role}.crt", cluster.published_by(master, f"{node.name}-{role}"), mode=0o644)
            for role in ROLES
        ),
    )


def certificates_there(cluster: Cluster, node: Node) -> Fact[Plan]:
    """Ensure that these files are on the node."""
    wanted = certificates(cluster, node)

    def plan(completed: Sequence[Completed]) -> Plan:
        lacking = [
            file
            for file, held in zip(wanted, completed, strict=True)
            if held.exit_code or held.stdout != file.content
        ]
        return Plan(tuple(lacking), "\n".join(unified_diff(file.path, "", file.content) for file in lacking))

    return Fact(tuple(Command(("cat", file.path), ok=(0, 1)) for file in wanted), plan)


def _read(files: Mapping[str, str]) -> Fact[dict[str, Text]]:
    asks = tuple(Command(("cat", path)) for path in files.values())

    def parse(completed: Sequence[Completed]) -> dict[str, Text]:
        return {key: f"{content(one)}\n" for key, one in zip(files, completed, strict=True)}

    return Fact(asks, parse)
