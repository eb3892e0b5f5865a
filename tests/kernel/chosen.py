"""Which tests run on the stock kernel: what it can carry and the kernel of the usual test machine cannot."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Tests of one file, and what they show there."""

    shows: str
    file: str
    tests: tuple[str, ...]


CHOSEN = (
    Group(
        "access VLANs by the switch task and the real `bridge`, 802.1q sub-interfaces, netem and nftables on them",
        "tests/live/test_vlan_switch.py",
        (
            "test_packets_pass_only_between_ports_in_their_vlans",
            "test_netem_between_two_vlans_of_one_trunk",
            "test_a_policy_by_names_of_sub_interfaces",
        ),
    ),
    Group(
        "a tagged port is refused",
        "tests/live/test_switch_bridge.py",
        ("test_vlans_are_set_verified_and_undone",),
    ),
    Group(
        "netem: loss and delay of 50,000 packets, order, queue limit, deadman, a NIC shared with management",
        "tests/live/test_impairment_engine.py",
        (
            *(f"test_accuracy[netem-{name}]" for name in ("loss-5pct", "delay-250ms")),
            "test_both_ends[netem]",
            "test_set_twice_then_clear_twice[netem]",
            "test_the_deadman_lifts[netem]",
            "test_beside_management[netem]",
            "test_the_limit_drops_the_newest[netem]",
        ),
    ),
    Group(
        "netem: bursts of losses, jitter, reordering, rates, ways that differ, a known network, IPv6",
        "tests/live/test_impairment_more.py",
        (
            "test_losses_come_in_bursts[netem]",
            "test_jitter_is_even_and_reorders[netem]",
            "test_with_a_rate_jitter_keeps_the_order[netem]",
            "test_as_many_skip_the_delay_as_are_reordered[netem]",
            "test_a_rate_is_kept_and_its_queue_is_short[netem]",
            "test_ways_differ[netem]",
            "test_the_proof_believes_it[netem-lte]",
            "test_ipv6_is_impaired_with_the_whole_device[netem]",
        ),
    ),
    Group(
        "netem: every former root comes back, and every condition at every place and end of a lab with pods",
        "tests/live/test_netem_places.py",
        ("test_what_was_at_the_root_comes_back", "test_netem_keeps_its_word_at_every_place"),
    ),
    Group(
        "VPNs over the kernel's WireGuard", "tests/live/test_kernel_plane.py", ("test_the_kernel_encrypts",)
    ),
    Group(
        "nftables with connection tracking: a tracked flow ends with the policy, and symmetric NAT is symmetric",
        "tests/live/test_firewall.py",
        (
            "test_an_established_flow_does_not_outlive_a_stateful_policy",
            "test_kinds_of_nat_differ_in_the_port_that_peers_see",
        ),
    ),
    Group(
        "a lab's end leaves links, mounts and processes as they were, also when its init is killed",
        "tests/live/test_lab.py",
        ("test_down_leaves_the_machine_as_it_was", "test_kill_9_of_the_init_leaves_nothing[init]"),
    ),
)


SLOW = (
    Group(
        "50,000 packets take an emulator half a minute, and 2,000 of each are looked at in every run",
        "tests/live/test_impairment_engine.py",
        tuple(
            f"test_accuracy[netem-{name}]"
            for name in ("loss-1pct", "loss-10pct", "delay-50ms", "delay-350ms")
        ),
    ),
    Group(
        "minutes that each pass by waiting",
        "tests/live/test_impairment_engine.py",
        (
            *(f"test_median_delay[netem-{delay_ms}]" for delay_ms in (50, 250, 350)),
            "test_renewing_puts_the_deadman_off[netem]",
        ),
    ),
    Group(
        "a second lab only for another victim",
        "tests/live/test_lab.py",
        ("test_kill_9_of_the_init_leaves_nothing[starter]",),
    ),
)
"""What runs with `--slow` only; `shows` says why."""


def node_ids(group: Group) -> Iterator[str]:
    """What pytest calls the tests."""
    return (f"{group.file}::{test}" for test in group.tests)
