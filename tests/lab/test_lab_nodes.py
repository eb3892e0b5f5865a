"""What a node has instead of the machine's files."""

from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.lab.build_spec import BuildSpec, NodeSpec
from vpnmesh.lab.nodes import EMPTY, Account, NodeFile, NodeKeys, emptied_folders, free_uids, node_files
from vpnmesh.lab.topology import Step
from vpnmesh.model import Testbed
from vpnmesh.solutions import SOLUTIONS

ACCOUNTS = (Account("mesh", 2000), Account("meshpw", 2001, "$6$hash"))
MACHINE = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nsshd:x:103:65534::/run/sshd:/usr/sbin/nologin\nmesh:x:7:7::/:/bin/sh\n",
    "group": "root:x:0:\nmesh:x:7:\n",
}


def _files(testbed: Testbed) -> dict[str, NodeFile]:
    files = node_files(testbed, "worker1", NodeKeys("PRIVATE\n", "ssh-ed25519 AAAA\n"), ACCOUNTS, MACHINE)
    return {file.path: file for file in files}


def test_a_lab_user_replaces_the_machines_user_of_that_name(testbed: Testbed) -> None:
    """System users stay (sshd needs its own), `mesh` is the lab's."""
    expected = (
        "root:x:0:0:root:/root:/bin/bash\n"
        "sshd:x:103:65534::/run/sshd:/usr/sbin/nologin\n"
        "mesh:x:2000:2000::/home/mesh:/bin/bash\n"
        "meshpw:x:2001:2001::/home/meshpw:/bin/bash\n"
    )
    assert expected == _files(testbed)["/etc/passwd"].content


def test_no_password_of_the_machine_comes_along(testbed: Testbed) -> None:
    """Every user has `*`, which is no password but not locked; only meshpw has the lab's hash."""
    shadow = _files(testbed)["/etc/shadow"]
    passwords = {line.split(":")[0]: line.split(":")[1] for line in shadow.content.splitlines()}
    assert passwords == {"root": "*", "sshd": "*", "mesh": "*", "meshpw": "$6$hash"}
    assert shadow.mode == 0o600


def test_private_files_are_private(testbed: Testbed) -> None:
    """Keys, shadow and sudoers are not for others to read."""
    files = _files(testbed)
    modes = {path: files[path].mode for path in ("/etc/ssh/ssh_host_ed25519_key", "/etc/sudoers")}
    assert modes == {"/etc/ssh/ssh_host_ed25519_key": 0o600, "/etc/sudoers": 0o440}


def test_names_resolve_to_the_underlay(testbed: Testbed) -> None:
    """Nodes know each other by underlay address; the management network is the controller's."""
    lines = _files(testbed)["/etc/hosts"].content.splitlines()
    assert "192.88.99.18 worker2" in lines
    assert "127.0.1.1 worker1" in lines
    assert not [line for line in lines if line.startswith("198.18.")]


def test_sshd_listens_on_management_only_and_takes_keys_only(testbed: Testbed) -> None:
    """The worker's own management address, no passwords, no root."""
    lines = _files(testbed)["/etc/ssh/sshd_config"].content.splitlines()
    assert [line for line in lines if line.startswith("Listen")] == ["ListenAddress 198.18.213.12:22"]
    assert {"PasswordAuthentication no", "PermitRootLogin no", "AllowUsers mesh meshpw"} <= set(lines)


@given(st.sets(st.integers(0, 3000)), st.integers(1, 5))
def test_free_uids_are_free(used: set[int], count: int) -> None:
    """Neither a user nor a group of the machine has them, and none comes twice."""
    passwd = "".join(f"u{uid}:x:{uid}:0::/:/bin/sh\n" for uid in sorted(used))
    found = free_uids(passwd, "broken\n", count)
    assert count == len(set(found))
    assert not used & set(found)


def test_a_build_spec_survives_its_file() -> None:
    """What the init reads is what was written."""
    step = Step("s", (("ip", "link"), ("nft", "a b")))
    node = NodeSpec("n", (("net/x", "1"),), (NodeFile("/etc/x", "text\n", 0o600, 7),), ("/etc/y",))
    spec = BuildSpec((step,), step, (("net/y", "0"),), ACCOUNTS, (node,))
    assert spec == BuildSpec.from_json(spec.to_json())


def test_no_node_sees_the_folders_of_the_machines_own_vpns() -> None:
    """Every solution's, whoever adds it: a folder that is left out would show the machine's keys to a node."""
    emptied = emptied_folders(SOLUTIONS.values())
    own = {folder for one in SOLUTIONS.values() for folder in (f"/etc/{one.name}", *one.host_folders)}
    assert own | {"/etc/ssh", "/etc/sudoers.d"} == set(emptied)
    assert {"/etc/wireguard", "/etc/nebula", "/etc/netbird", "/etc/headscale", "/etc/netclient"} <= own
    assert len(emptied) == len(set(emptied))
    hidden = (*(f"{path}/" for path, _ in EMPTY), "/etc/", "/usr/local/", "/opt/")
    assert [folder for folder in emptied if not folder.startswith(hidden)] == []
