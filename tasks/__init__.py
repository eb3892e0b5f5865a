"""Nornir tasks: the only code that touches a host. Each works alone from a REPL with `print_result`."""

from tasks.firewall import probe_udp, set_firewall_policy
from tasks.look import look_at_node
from tasks.mesh import blacklist_interfaces, join_stage, leave_mesh, mesh_status
from tasks.path import knock, probe_relay_share
from tasks.ping import ping_address
from tasks.pods import attach_pods, detach_pods
from tasks.provenance import find_binaries, read_provenance
from tasks.relay import start_relay, stop_relay
from tasks.resources import sample_load
from tasks.sysctl import set_sysctls
from tasks.throughput import measure_throughput

__all__ = [
    "attach_pods",
    "blacklist_interfaces",
    "detach_pods",
    "find_binaries",
    "join_stage",
    "knock",
    "leave_mesh",
    "look_at_node",
    "measure_throughput",
    "mesh_status",
    "ping_address",
    "probe_relay_share",
    "probe_udp",
    "read_provenance",
    "sample_load",
    "set_firewall_policy",
    "set_sysctls",
    "start_relay",
    "stop_relay",
]
