"""versions.toml: what it pins, and how a wrong one is refused."""

import pytest

from vpnmesh.cluster.artifacts import Choice, parse_releases
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.host.binaries import Arch
from workflows.run.artifacts import pinned_releases

GOOD = """
[k3s]
page = "https://vendor.invalid/"
paper = "v1.2.3+k3s1"
current = "v4.5.6+k3s1"
[k3s.files.program]
program = "k3s"
target = "/usr/local/bin/k3s"
names = { amd64 = "k3s" }
url = "https://vendor.invalid/{version}/{name}"
sums = "https://vendor.invalid/{version}/sums-{arch}.txt"
"""


def test_the_papers_versions_are_pinned() -> None:
    """K3s and the Calico operator of the paper's repository, and later ones beside them."""
    releases = pinned_releases()
    paper = {name: release.version(Choice.PAPER) for name, release in releases.items()}
    assert paper == {"k3s": "v1.22.17+k3s1", "calico": "v3.25.1"}
    assert all(release.current != release.paper for release in releases.values())


def test_addresses_of_k3s() -> None:
    """A plus is not a plus in an address, and the program of amd64 has no architecture in its name."""
    k3s = pinned_releases()["k3s"]
    amd64 = k3s.artifact("program", Arch.AMD64, Choice.PAPER)
    arm64 = k3s.artifact("program", Arch.ARM64, Choice.PAPER)
    release = "https://github.com/k3s-io/k3s/releases/download/v1.22.17%2Bk3s1"
    assert (amd64.url, amd64.sums) == (f"{release}/k3s", f"{release}/sha256sum-amd64.txt")
    assert (arm64.url, arm64.sums) == (f"{release}/k3s-arm64", f"{release}/sha256sum-arm64.txt")
    assert (amd64.target, amd64.mode) == ("/usr/local/bin/k3s", 0o755)


@pytest.mark.parametrize(
    ("product", "kind"),
    [(name, kind) for name, release in pinned_releases().items() for kind in release.files],
)
def test_every_file_has_both_addresses_for_both_processors(product: str, kind: str) -> None:
    """No placeholder is left, and all is https."""
    for arch in Arch:
        for choice in Choice:
            found = pinned_releases()[product].artifact(kind, arch, choice)
            assert "{" not in found.url + found.sums + found.target
            assert found.url.startswith("https://")
            assert found.sums.startswith("https://")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("paper =", "papr =", r"versions.toml \[k3s\]: paper: is missing"),
        ('"v4.5.6+k3s1"', '"latest"', r"\[k3s\]: current: is 'latest'"),
        ('url = "https:', 'url = "http:', r"files: program: url: is 'http:.*is not https"),
        ('sums = "https://vendor.invalid/{version}/sums-{arch}.txt"', "", "files: program: sums: is missing"),
        ('target = "/usr', 'target = "usr', "files: program: target"),
        ("amd64 =", "riscv =", "files: program: names"),
        ("[k3s]", "[k3s", "versions.toml"),
        (GOOD, "k3s = 3", r"versions.toml \[k3s\] is 3, no table|\[k3s\]: is 3, no table"),
    ],
)
def test_what_is_wrong_is_named(before: str, after: str, said: str) -> None:
    """One sentence with the table and the key."""
    assert before in GOOD
    with pytest.raises(InputError, match=said):
        parse_releases(GOOD.replace(before, after, 1))


def test_unknown_file_and_processor() -> None:
    """A wrong name lists the right ones; a processor without a file is said."""
    k3s = parse_releases(GOOD)["k3s"]
    with pytest.raises(UnknownNameError, match="program"):
        k3s.artifact("programme", Arch.AMD64)
    with pytest.raises(InputError, match="nothing is pinned for arm64"):
        k3s.artifact("program", Arch.ARM64)
