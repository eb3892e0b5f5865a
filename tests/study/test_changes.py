"""What a dry run's diffs would change, sorted by kind, from the plans that are pinned as golden files."""

from pathlib import Path

from vpnmesh.plan import unified_diff
from vpnmesh.study.changes import Change, ChangeKind, changes_in, listed

GOLDEN = Path(__file__).parents[1] / "golden" / "expected"


def diff_of(name: str) -> str:
    """The diff of a golden plan."""
    return (GOLDEN / name).read_text().partition("--- diff ---\n")[2]


def found(diff: str, *interfaces: str) -> set[tuple[ChangeKind, str]]:
    """Kinds and things of a diff."""
    return {(one.kind, one.what) for one in changes_in("a", diff, interfaces)}


def test_a_service_is_a_unit_and_its_files() -> None:
    """The unit has the name that systemd knows it by."""
    assert found(diff_of("service-start.plan")) == {
        (ChangeKind.PROCESSES, "vpnmesh-daemon"),
        (ChangeKind.FILES, "/etc/d.conf"),
    }


def test_a_pod_network_is_interfaces_and_a_pod() -> None:
    """Both of its devices are named."""
    assert found(diff_of("pods-1230.plan")) == {
        (ChangeKind.INTERFACES, "vxlan.calico"),
        (ChangeKind.INTERFACES, "cali0"),
        (ChangeKind.PODS, "pod 10.136.0.65 mtu 1230"),
    }


def test_an_interface_is_known_by_its_name() -> None:
    """The caller says what interfaces there may be; any other title is something of our own."""
    diff = unified_diff("vmwg0", "", "port 51821")
    assert found(diff, "vmwg0") == {(ChangeKind.INTERFACES, "vmwg0")}
    assert found(diff) == {(ChangeKind.OWN, "vmwg0")}


def test_settings_rules_ports_and_impairments_show_their_lines() -> None:
    """With the value that would be set; of many lines the first."""
    assert found(unified_diff("sysctl", "net.core.rmem_max = 1", "net.core.rmem_max = 2")) == {
        (ChangeKind.SYSCTLS, "net.core.rmem_max = 2")
    }
    many = unified_diff("firewall policy", "", "\n".join(f"rule {number}" for number in range(20)))
    ((kind, what),) = found(many)
    assert kind is ChangeKind.FIREWALL
    assert what.startswith("rule 0, rule 1")
    assert what.endswith("and 14 lines more")
    assert found(unified_diff("switch ports", "Gi1: 1", "Gi1: 20")) == {(ChangeKind.SWITCH, "Gi1: 20")}
    (impaired,) = found(unified_diff("a: impairment underlay eth0", "", "loss-5pct"))
    assert impaired == (ChangeKind.IMPAIRMENT, "a: impairment underlay eth0: loss-5pct")


def test_several_diffs_in_one_are_told_apart() -> None:
    """Also where a line of a file looks as a title does."""
    text = "\n".join([unified_diff("/etc/a", "", "++ b"), unified_diff("sysctl", "", "x = 1")])
    assert found(text) == {(ChangeKind.FILES, "/etc/a"), (ChangeKind.SYSCTLS, "x = 1")}
    assert found("firewall policy block-udp: renewed for 60 s") == {
        (ChangeKind.OWN, "firewall policy block-udp: renewed for 60 s")
    }
    assert found("") == set()


def test_every_kind_is_listed_and_hosts_with_the_same_are_one_line() -> None:
    """What is not changed is said, too: nobody has to wonder whether packages are installed."""
    changes = [
        Change(ChangeKind.FILES, "b", "/x"),
        Change(ChangeKind.FILES, "a", "/x"),
        Change(ChangeKind.FILES, "a", "/y"),
        Change(ChangeKind.SYSCTLS, "a", "k = 1"),
    ]
    lines = listed(changes)
    assert lines[:4] == ["packages: none", "files:", "  a, b: /x", "  a: /y"]
    assert {line.partition(":")[0] for line in lines if not line.startswith(" ")} == {*ChangeKind}
