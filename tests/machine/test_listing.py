"""The listing of a machine finds what a run would leave, and nothing that the machine does by itself."""

import subprocess
from pathlib import Path

import pytest

from tests.machine import listing
from tests.machine.listing import OWN, QUESTIONS, differences, read

EXAMPLE = {
    "packages": "iperf3 3.12-1+deb12u1 ii",
    "units": "ssh.service loaded active running",
    "unit files": "ssh.service enabled enabled",
    "files": "/etc/fstab f 644 0:0 47 1790000000.0000000000",
    "contents": "e3b0c44298fc1c149afbf4c8996fb924  /etc/fstab",
    "run": "/run/sshd d 755 0:0",
    "rules": "table inet machine {",
    "routes": "192.88.99.16/29 dev enp0s4 proto kernel scope link src 192.88.99.18",
    "sysctls": "net.ipv4.ip_forward = 0",
    "interfaces": "2: enp0s3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP",
    "qdiscs": "qdisc fq_codel 0: dev enp0s4 parent :1",
    "network namespaces": "",
    "programs": "root agetty",
}


def said(**extra: str) -> str:
    """A machine's answer, with lines added to sections."""
    sections = (
        f"### {name}\n{text}\n{extra.get(name.replace(' ', '_'), '')}\n" for name, text in EXAMPLE.items()
    )
    return "".join(sections) + "### end\n"


def test_every_question_is_asked_and_read() -> None:
    """The script is one that a shell takes, and names each section once."""
    script = listing.script()
    subprocess.run(("sh", "-n"), input=script, text=True, check=True)
    assert all(script.count(f"### {name}'") == 1 for name in QUESTIONS)
    assert set(QUESTIONS) == set(EXAMPLE)
    assert read(said())["packages"] == (EXAMPLE["packages"],)


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("packages", "nebula 1.6.1 ii"),
        ("units", "vpnmesh-tailscaled.service loaded active running"),
        ("unit_files", "vpnmesh-tailscaled.service static -"),
        ("files", "/var/lib/vpnmesh d 700 0:0"),
        ("files", "/usr/local/bin/tailscaled f 755 0:0 26000000 1790000001.0000000000"),
        ("contents", "d3b0c44298fc1c149afbf4c8996fb924  /home/ops/.bashrc"),
        ("run", "/run/vpnmesh d 700 0:0"),
        ("rules", "table inet vpnmesh {"),
        ("routes", "10.213.0.0/24 dev vmwg0 proto kernel scope link src 10.213.0.3"),
        ("routes", "5210: from all fwmark 0x80000/0xff0000 lookup main"),
        ("sysctls", "net.ipv4.conf.vmwg0.forwarding = 1"),
        ("interfaces", "5: vxlan.calico: <BROADCAST,MULTICAST,UP> mtu 1450"),
        ("qdiscs", "qdisc netem 1: dev enp0s4 root refcnt 2 limit 1000 delay 250ms"),
        ("network_namespaces", "pod"),
        ("programs", "root wireguard-go"),
    ],
)  # fmt: skip
def test_what_a_run_could_leave_is_told(section: str, line: str) -> None:
    """A line more is told as come, a line less as gone."""
    before, after = read(said()), read(said(**{section: line}))
    name = section.replace("_", " ")
    assert [f"{name}: came: {line}"] == differences(before, after)
    assert [f"{name}: went: {line}"] == differences(after, before)


def test_a_changed_value_is_told_twice() -> None:
    """The old line went and the new one came."""
    forwarding = said().replace("net.ipv4.ip_forward = 0", "net.ipv4.ip_forward = 1")
    assert len(differences(read(said()), read(forwarding))) == 2


def test_what_the_machine_does_by_itself_is_counted_by_reason() -> None:
    """Logs and counters are no trace of a run, and are told as what they are."""
    log = "/var/log/journal/0123/system.journal f 640 0:102 8388608 1790000002.0000000000"
    before, after = read(said()), read(said(files=log, sysctls="fs.file-nr = 1024\t0\t9223372036854775807"))
    assert differences(before, after) == []
    assert listing.by_itself(before, after) == {"logs, the journal among them, grow": 1, "counters": 1}


def test_nothing_of_ours_is_taken_for_the_machines() -> None:
    """No pattern of OWN takes a path that a run writes to, and each is of a section that there is."""
    assert {own.section for own in OWN} <= set(QUESTIONS)
    ours = ("/var/lib/vpnmesh/brought f", "/run/vpnmesh d", "/etc/netns d", "net.ipv4.conf.all.rp_filter = 0")
    for own in OWN:
        assert not any(read_as(own.pattern, line) for line in ours), own


def read_as(pattern: str, line: str) -> bool:
    """Whether the pattern takes the line."""
    return any(one.pattern == pattern and listing._reason(one.section, line) for one in OWN)


def test_half_a_listing_is_none() -> None:
    """A connection that broke off, or a program that is missing, must not look like a machine that is clean."""
    with pytest.raises(ValueError, match="not with its end"):
        read(said().removesuffix("### end\n"))
    with pytest.raises(ValueError, match="no answer to: rules"):
        read(said().replace(EXAMPLE["rules"], ""))


def test_the_list_of_files_is_of_this_machine_too(tmp_path: Path) -> None:
    """What find prints shows a file's mode, owner, size and time, and of a folder no time."""
    (tmp_path / "file").write_text("four")
    command = QUESTIONS["files"].replace("find /", f"find {tmp_path}")
    text = subprocess.run(("sh", "-c", command), capture_output=True, text=True, check=True).stdout
    folder, file = sorted(text.splitlines())
    assert folder.split() == [str(tmp_path), "d", folder.split()[2], "0:0"] or len(folder.split()) == 4
    assert file.split()[0] == f"{tmp_path}/file"
    assert file.split()[4] == "4"
