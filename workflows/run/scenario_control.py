"""What a measurement may do with the scenario that is up, carried out on the site: probe, block, restart."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

import tasks
from vpnmesh.errors import CheckError, UnavailableError
from vpnmesh.measurements.protocol import ClusterAccess, Part, Side, Until
from vpnmesh.model import Pair
from vpnmesh.study.convergence import PathProbe
from workflows.run.hosts import run_on
from workflows.run.provision import Provisioned, attach, firewall_policy, join
from workflows.run.site import Site


@dataclass(frozen=True, slots=True)
class SiteControl:
    """The measured pair of a deployed scenario; implements `vpnmesh.measurements.protocol.ScenarioControl`."""

    site: Site
    deployed: Provisioned
    pair: Pair

    @property
    def join_s(self) -> float:
        """Seconds from the members' start until every pair had the path, as provisioning timed it."""
        return self.deployed.join_s

    def tunnel_address(self, side: Side) -> IPv4Address:
        """The address in the VPN that the node named when the scenario came up."""
        return self._address(self._name(side))

    def probe_path(self, until: Until, deadline_s: float) -> Mapping[str, Sequence[PathProbe]]:
        """Both ends at once, each with the other as its peer."""
        client, server = self.pair.client, self.pair.server
        peers = {
            client: (server, self._address(server)),
            server: (client, self._address(client)),
        }
        results = run_on(
            self.site.nr,
            (client, server),
            tasks.probe_path,
            solution=self.deployed.solution,
            mesh=self.deployed.mesh,
            peers=peers,
            until=until,
            deadline_s=deadline_s,
        )
        return {node: result.result for node, result in results.items()}

    def set_policy(self, name: str) -> None:
        """Set the firewall policy of that name, as every scenario's is set."""
        firewall_policy(self.site, name)

    def restart(self, side: Side) -> float | None:
        """Kill the daemons as a crash would and run the solution's stages again; None where none was running."""
        started = time.monotonic()
        if not self.kill(side):
            return None
        self.start()
        return round(time.monotonic() - started, 3)

    def kill(self, part: Part) -> bool:
        """Kill the solution's own processes on that node; those of a cluster beside them go on."""
        name, processes = self._name(part), self.deployed.solution.processes
        if not processes:
            return False
        done = run_on(self.site.nr, [name], tasks.kill_services, processes=processes)
        return bool(done[name].result)

    def start(self) -> float:
        """Run the solution's stages again, which start whatever does not run."""
        started = time.monotonic()
        join(self.site, self.deployed.solution, self.deployed.mesh)
        return round(time.monotonic() - started, 3)

    @property
    def cluster(self) -> ClusterAccess:
        """The cluster that was raised with the scenario."""
        raised = self.deployed.cluster
        if raised is None:
            raise UnavailableError(
                "no cluster stands here: --cluster kubernetes raises one over every scenario"
            )
        return ClusterAccess(raised.installer.kubectl(raised.cluster), raised.cluster.server)

    def attach_pods(self) -> None:
        """Attach the pods to the tunnels as they are now; changes nothing where they are attached."""
        attach(self.site, self.deployed.mesh, self.deployed.statuses)

    def _name(self, part: Part) -> str:
        names = {
            "client": self.pair.client,
            "server": self.pair.server,
            "relay": self.site.testbed.relay.name,
            "control": self.site.testbed.control_plane.name,
        }
        return names[part]

    def _address(self, name: str) -> IPv4Address:
        status = self.deployed.statuses.get(name)
        if status is None or status.address is None:
            raise CheckError("path", f"{name} has no address in the tunnel")
        return status.address
