"""Nebula's certificate authorities, for `vpnmesh.solutions.nebula`: the mesh's own, and those of a second mesh.

Members meet if each trusts the authority that signed the other. The mesh has one authority. For the live check of
isolated meshes (docs/criteria.md) there are three: one for each mesh, and one for the lighthouse, which serves both.
What changed between Nebula's versions is data (`Dialect`), chosen by what the programs themselves answer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vpnmesh.errors import UnavailableError
from vpnmesh.host.service import content, made
from vpnmesh.model import Node
from vpnmesh.plan import Command, Completed, Fact, Plan, Text, WriteFile, both, in_order, unified_diff
from vpnmesh.solutions.control import SecondMesh
from vpnmesh.solutions.protocol import STATE_DIRECTORY, Mesh, Stage

AUTHORITY = f"{STATE_DIRECTORY}/nebula-ca"
"""On the control-plane node; those of a second mesh are inside, so that they go with it."""

# a constant script: the folder is the argument
_MAKE_CA = """
umask 077; mkdir -p "$1"; cd "$1" && rm -f ca.crt ca.key
nebula-cert ca -name vpnmesh -duration 8760h -out-crt ca.crt -out-key ca.key
"""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the programs are talked to from a version on: the option that gives a certificate its address."""

    since: tuple[int, ...]
    address_option: str


DIALECTS = (Dialect((1, 10), "-networks"), Dialect((0,), "-ip"))
"""Newest first."""
_VERSION = re.compile(r"\d+(?:\.\d+)+")


def dialect_of(version: str) -> Dialect:
    """The dialect of programs that say this of themselves; the oldest where they say none, which all still know."""
    found = _VERSION.search(version)
    numbers = tuple(int(part) for part in found.group().split(".")) if found else DIALECTS[-1].since
    return next(one for one in DIALECTS if numbers >= one.since)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: its folder, and the beginning of the keys under which what it made is published."""

    folder: str
    prefix: str = ""

    @property
    def ca(self) -> str:
        """The key of its own certificate."""
        return f"{self.prefix}ca"

    def certificate(self, node: Node) -> str:
        """The key of the certificate that it signed for a node."""
        return f"{self.prefix}crt/{node.name}"

    def there(self) -> Fact[Plan]:
        """Ensure that it exists."""
        script = Command(("sh", "-ec", _MAKE_CA, "sh", self.folder))
        return made(f"{self.folder}/ca.crt", script, "<a new certificate authority>")

    def read(self) -> Fact[dict[str, Text]]:
        """Publish its own certificate."""
        question = Command(("cat", f"{self.folder}/ca.crt"))
        return Fact((question,), lambda completed: {self.ca: f"{content(completed[0])}\n"})

    def signed(self, mesh: Mesh, nodes: Sequence[Node]) -> Fact[Plan]:
        """Ensure a certificate for the present public key of each of these nodes."""
        version = Command(("nebula-cert", "-version"))
        questions = tuple(
            Command(
                ("sh", "-c", 'cat "$1.pub" && test -s "$1.crt"', "sh", f"{self.folder}/{node.name}"),
                ok=(0, 1),
            )
            for node in nodes
        )

        def plan(completed: Sequence[Completed]) -> Plan:
            steps: list[Command | WriteFile] = []
            dialect = dialect_of(completed[0].stdout)
            for node, one in zip(nodes, completed[1:], strict=True):
                if one.exit_code or one.stdout != mesh.published_by(node.name, "public-key"):
                    steps += self._sign(mesh, node, dialect)
            names = "\n".join(node.name for node in nodes)
            return Plan(tuple(steps), unified_diff("certificates", "", names) if steps else "")

        return Fact((version, *questions), plan)

    def read_signed(self, nodes: Sequence[Node]) -> Fact[dict[str, Text]]:
        """Publish the certificates of these nodes."""
        questions = tuple(Command(("cat", f"{self.folder}/{node.name}.crt")) for node in nodes)
        return Fact(
            questions,
            lambda found: {
                self.certificate(node): f"{content(one)}\n" for node, one in zip(nodes, found, strict=True)
            },
        )

    def _sign(self, mesh: Mesh, node: Node, dialect: Dialect) -> list[Command | WriteFile]:
        base = f"{self.folder}/{node.name}"
        sign = ("nebula-cert", "sign", "-ca-crt", f"{self.folder}/ca.crt", "-ca-key", f"{self.folder}/ca.key")
        what = (
            *("-in-pub", f"{base}.pub", "-name", node.name),
            *(dialect.address_option, str(mesh.overlay(node)), "-out-crt", f"{base}.crt"),
        )
        return [
            Command(("rm", "-f", f"{base}.crt")),
            WriteFile(f"{base}.pub", mesh.published_by(node.name, "public-key")),
            Command((*sign, *what)),
        ]


FIRST = Authority(AUTHORITY)
SECOND = Authority(f"{AUTHORITY}/second", "second/")
LIGHTHOUSE = Authority(f"{AUTHORITY}/lighthouse", "lighthouse/")


def authorities_of(
    mesh: Mesh, node: Node, second: SecondMesh | None
) -> tuple[Authority, tuple[Authority, ...]]:
    """Who signed the node's certificate, and whom it trusts."""
    if second is None:
        return FIRST, (FIRST,)
    if node not in mesh.members:
        return LIGHTHOUSE, (LIGHTHOUSE, FIRST, SECOND)
    own = SECOND if node.name in second.members else FIRST
    return own, (own, LIGHTHOUSE)


def authority_stages(
    mesh: Mesh, participants: Sequence[Node], second: SecondMesh | None
) -> tuple[Stage, ...]:
    """The authorities of a second mesh and of the lighthouse, and what they sign; none for one mesh.

    UnavailableError where the lighthouse is a member: it would be of one mesh alone.
    """
    if second is None:
        return ()
    if mesh.testbed.control_plane in mesh.members:
        raise UnavailableError(
            f"the lighthouse on {mesh.testbed.control_plane.name} is a member: it serves one mesh"
        )
    at = (mesh.testbed.control_plane.name,)
    serving = [node for node in participants if node not in mesh.members]
    moved = [node for node in mesh.members if node.name in second.members]
    return (
        Stage(
            "authorities",
            at,
            lambda _mesh, _node: in_order(SECOND.there(), LIGHTHOUSE.there()),
            lambda _mesh, _node: _merged(SECOND.read(), LIGHTHOUSE.read()),
        ),
        Stage(
            "certificates of two meshes",
            at,
            lambda mesh, _node: in_order(SECOND.signed(mesh, moved), LIGHTHOUSE.signed(mesh, serving)),
            lambda _mesh, _node: _merged(SECOND.read_signed(moved), LIGHTHOUSE.read_signed(serving)),
        ),
    )


def _merged(one: Fact[dict[str, Text]], other: Fact[dict[str, Text]]) -> Fact[dict[str, Text]]:
    return both(one, other).map(lambda found: {**found[0], **found[1]})
