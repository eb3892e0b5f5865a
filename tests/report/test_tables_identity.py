"""What a run is known by: derived from its manifest, whole, partial or empty."""

from vpnmesh.report.environment import environment
from vpnmesh.report.identity import identity

NODE = {
    "kernel": "Linux 6.1 x86_64",
    "cpu": " Example CPU",
    "cores": "4",
    "iperf3": "iperf 3.16 (cJSON)\nmore",
    "nebula -version": "Version: 1.9",
    "wg --version": "not known: no such file",
    "firewall": "table ip x {}",
}


def test_a_whole_manifest() -> None:
    """Nodes that agree give one kernel, one machine, and the versions of what they were asked for."""
    manifest = {
        "vpnmesh": "0.1.0",
        "engine": "netem",
        "lab": None,
        "nodes": {"a": NODE, "b": NODE},
        "profile": {"name": "paper", "placement": {"limit": 1000}},
    }
    found = identity(manifest)
    assert (found["kernel"], found["machine"]) == ("Linux 6.1 x86_64", "Example CPU, 4 cores")
    assert found["substrate"] == "hosts, impaired by netem"
    assert found["versions"] == {
        "nebula -version": "Version: 1.9",
        "iperf3": "iperf 3.16 (cJSON)",
        "vpnmesh": "0.1.0",
    }
    assert (found["netem_limit"], found["cpu_unit"]) == (1000, "percent of one core")


def test_nodes_that_differ_are_all_named() -> None:
    """Two kernels are two, in the fact and in Table 2."""
    found = identity({"nodes": {"a": NODE, "b": {**NODE, "kernel": "Linux 6.6 x86_64"}}})
    assert found["kernel"] == "Linux 6.1 x86_64; Linux 6.6 x86_64"
    assert dict(environment(found).rows())["Kernel"] == "Linux 6.1 x86_64; Linux 6.6 x86_64"


def test_what_is_not_alike_is_a_row_of_table_2() -> None:
    """The run's own list of differences between its nodes is shown; a run without any has no such row."""
    differing = ["kernel: 6.1 (a); 6.6 (b)", "cores: 4 (a); 8 (b)"]
    rows = [
        dict(environment(identity({"nodes": {"a": NODE}, "node_differences": found})).rows())
        for found in (differing, [])
    ]
    assert rows[0]["Nodes differ in"] == "cores: 4 (a); 8 (b); kernel: 6.1 (a); 6.6 (b)"
    assert "Nodes differ in" not in rows[1]


def test_long_answers_stay_out_of_table_2() -> None:
    """Rulesets and addresses are provenance, not a row of Table 2."""
    assert "table ip x" not in str(environment(identity({"nodes": {"a": NODE}})).rows())


def test_what_the_manifest_states_wins() -> None:
    """A fact that stands in the manifest itself is not derived again."""
    assert identity({"kernel": "6.9", "nodes": {"a": NODE}})["kernel"] == "6.9"


def test_an_empty_manifest() -> None:
    """Nothing known is nothing stated: no empty rows, and still a run."""
    found = identity({"nodes": None, "profile": "?"})
    assert (found["kind"], "substrate" in found, "kernel" in found) == ("run", False, False)
    assert environment(found).height == 0
