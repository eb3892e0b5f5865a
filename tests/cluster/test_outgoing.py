"""What a pod sends to nodes leaves with its node's address: one table, made once, and gone when the cluster goes."""

from tests.cluster.laid_out import cluster_over
from vpnmesh.cluster.vxlan import OUTGOING, Vxlan, outgoing
from vpnmesh.model import Testbed
from vpnmesh.plan import Command, Completed, Plan

LISTED = ("nft", "list", "table", *OUTGOING)


def planned(bed: Testbed, said: str) -> Plan:
    return outgoing(cluster_over(bed)).parse((Completed(LISTED, 0 if said else 1, said, ""),))


def test_pods_among_themselves_keep_their_addresses(bed: Testbed) -> None:
    """Measured packets go from pod to pod: nothing may change them. A table that is there changes nothing."""
    (step,) = planned(bed, "").steps
    assert isinstance(step, Command)
    rule = f"ip saddr {bed.pods} ip daddr != {bed.pods} masquerade"
    assert rule in str(step.stdin)
    assert not planned(bed, f"table ip vpnmesh_pods {{\n chain postrouting {{\n {rule}\n }}\n}}\n")


def test_it_goes_with_the_cluster(bed: Testbed) -> None:
    """Also where nothing else of the pods' network is left."""
    fact = Vxlan().leave(bed, bed.client)
    found = tuple(
        Completed(command.argv, 0, "table ip vpnmesh_pods" if command.argv == LISTED else "", "")
        for command in fact.commands
    )
    steps = [step.argv for step in fact.parse(found).steps if isinstance(step, Command)]
    assert ("nft", "delete", "table", *OUTGOING) in steps
    empty = tuple(Completed(command.argv, 0, "", "") for command in fact.commands)
    assert not fact.parse(empty)
