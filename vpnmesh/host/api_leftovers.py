"""What an API server that was started for a test leaves on its node if everything around it was killed: a folder."""

from collections.abc import Sequence

from vpnmesh.host.files import existing
from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff

FOLDER = "/var/lib/vpnmesh/api-test"
"""Where it keeps its certificates and its etcd; its processes end with their parent, whatever ended that."""


def removed() -> Fact[Plan]:
    """Ensure that there is no such folder."""

    def parse(completed: Sequence[Completed]) -> Plan:
        left = completed[0].stdout.split()
        if not left:
            return Plan()
        return Plan((Command(("rm", "-rf", "--", FOLDER)),), unified_diff("API test", "\n".join(left), ""))

    return Fact((existing(FOLDER),), parse)
