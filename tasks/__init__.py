"""Nornir tasks: the only code that touches a host. Each works alone from a REPL with `print_result`."""

from tasks.api_test import clear_api_test
from tasks.cluster import (
    cluster_state,
    enter_pods,
    leave_cluster,
    reach_pods,
    read_kubeconfig,
    read_other_clusters,
    time_api,
)
from tasks.convergence import kill_services, probe_path
from tasks.firewall.policy import probe_reach, roll_back_firewall, set_firewall_policy
from tasks.fixing import make_changes
from tasks.flows import watch_flows
from tasks.health import probe_path_mtu, read_answers, read_clock, read_cluster_answers
from tasks.host_key import read_host_key
from tasks.impairment import (
    clear_impairment,
    has_netem,
    install_engine,
    read_impairment,
    renew_impairment,
    set_impairment,
)
from tasks.lease import claim_lease, forget_lease, read_lease, release_lease, renew_lease
from tasks.measurement import measure
from tasks.mesh import blacklist_interfaces, join_stage, leave_mesh, mesh_status, read_logs, read_stack
from tasks.nat import (
    clear_nat_kinds,
    count_passed,
    measure_tunnel,
    probe_nat,
    restore_families,
    set_families,
    set_nat_kinds,
    start_header_capture,
)
from tasks.observation import look_at_node, read_foreign
from tasks.path import knock, probe_relay_share
from tasks.ping import ping_address, ping_burst, ping_paths, ping_train
from tasks.pods import attach_pods, detach_pods
from tasks.provenance import (
    find_binaries,
    makes_link,
    read_footprint,
    read_provenance,
    read_version,
    run_command,
)
from tasks.provisional import put_for_a_while
from tasks.pushing import look_for_program, push_file, withdraw_files
from tasks.roaming import change_address, restore_address
from tasks.secrecy import listen_for_marker
from tasks.streams import carry_streams
from tasks.switch import read_ports, set_access_vlans
from tasks.sysctl import put_sysctls_back, read_sysctls, set_sysctls
from tasks.why import ping_pod, probe_ways, read_identity, read_path_state, read_tunnels, read_ways

__all__ = [
    "attach_pods",
    "blacklist_interfaces",
    "carry_streams",
    "change_address",
    "claim_lease",
    "clear_api_test",
    "clear_impairment",
    "clear_nat_kinds",
    "cluster_state",
    "count_passed",
    "detach_pods",
    "enter_pods",
    "find_binaries",
    "forget_lease",
    "has_netem",
    "install_engine",
    "join_stage",
    "kill_services",
    "knock",
    "leave_cluster",
    "leave_mesh",
    "listen_for_marker",
    "look_at_node",
    "look_for_program",
    "make_changes",
    "makes_link",
    "measure",
    "measure_tunnel",
    "mesh_status",
    "ping_address",
    "ping_burst",
    "ping_paths",
    "ping_pod",
    "ping_train",
    "probe_nat",
    "probe_path",
    "probe_path_mtu",
    "probe_reach",
    "probe_relay_share",
    "probe_ways",
    "push_file",
    "put_for_a_while",
    "put_sysctls_back",
    "reach_pods",
    "read_answers",
    "read_clock",
    "read_cluster_answers",
    "read_footprint",
    "read_foreign",
    "read_host_key",
    "read_identity",
    "read_impairment",
    "read_kubeconfig",
    "read_lease",
    "read_logs",
    "read_other_clusters",
    "read_path_state",
    "read_ports",
    "read_provenance",
    "read_stack",
    "read_sysctls",
    "read_tunnels",
    "read_version",
    "read_ways",
    "release_lease",
    "renew_impairment",
    "renew_lease",
    "restore_address",
    "restore_families",
    "roll_back_firewall",
    "run_command",
    "set_access_vlans",
    "set_families",
    "set_firewall_policy",
    "set_impairment",
    "set_nat_kinds",
    "set_sysctls",
    "start_header_capture",
    "time_api",
    "watch_flows",
    "withdraw_files",
]
