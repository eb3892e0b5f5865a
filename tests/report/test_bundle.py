"""The archive to share: what goes in, what is masked, what stays out."""

import io
import zipfile
from pathlib import PurePosixPath

import pytest

from vpnmesh.report.bundle import RUN_FILES, Member, belongs, is_secret_by_name, mask, pack
from vpnmesh.report.hiding import hiding_of


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----",
        "PrivateKey = GDdfTHIS0IS0A0KEYaaaaaaaaaaaaaaaaaaaaaaaaaa=",
        '{"setup_key": "A1B2-THIS0IS0A0KEY"}',
        '{"reason": "failed: {\\"password\\": \\"THIS0IS0A0KEY\\"}"}',
        "netbird up --setup-key THIS0IS0A0KEY --disable-dns",
        '["tailscale", "up", "--authkey", "THIS0IS0A0KEY"]',
        "Authorization: Bearer THIS0IS0A0KEY.more",
        "X-ZT1-AUTH: THIS0IS0A0KEY",
        "https://admin:THIS0IS0A0KEY@netbox.example/api",
        "nbp_THIS0IS0A0KEYTHIS0IS0A0KEY",
        "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJTHIS0IS0A0KEY.c2ln",
        "CredentialSecret: THIS0IS0A0KEY",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    """No part of the secret is left, and it is counted."""
    masked, count = mask(text)
    assert "THIS0IS0A0KEY" not in masked
    assert "b3BlbnNzaC1r" not in masked
    assert count >= 1


@pytest.mark.parametrize(
    "text",
    [
        '{"rate_mbit_s": 707.45, "token": null, "secrets": 0}',
        "headscale-relay delay-50ms: measured",
        "password=<secret sha256:12345678>",
        "https://doi.org/10.1002/spe.3329",
        "2023-05-22T03:00:54 n 10:20 a@b",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Figures, names and texts that are masked already come out as they went in."""
    assert mask(text) == (text, 0)


def test_masking_twice_changes_nothing() -> None:
    """A masked text has nothing left to mask."""
    once, _ = mask('{"api_key": "abcdef123456", "url": "ssh://u:pw@h"}')
    assert mask(once) == (once, 0)


@pytest.mark.parametrize("name", ["keys/id_ed25519", "lab/tls.key", "a/authtoken.secret", "server.pem"])
def test_key_files_stay_at_home(name: str) -> None:
    """A file whose name says that it is a key is not looked into, it is left out."""
    assert is_secret_by_name(PurePosixPath(name))


def test_the_archive_lists_what_it_holds_and_what_not() -> None:
    """Text is in, keys and unreadable files are out, and the list says so."""
    stream = io.BytesIO()
    members = [
        Member(PurePosixPath("run/raw/a.json"), b'{"token": "abc123def"}'),
        Member(PurePosixPath("run/id_ed25519"), b"key"),
        Member(PurePosixPath("run/capture.bin"), b"\xff\xfe\x00"),
    ]
    packed = pack(members, stream)
    with zipfile.ZipFile(stream) as archive:
        assert archive.namelist() == ["run/raw/a.json", "BUNDLE.txt"]
        assert archive.read("run/raw/a.json") == b'{"token": "<masked>"}'
        listed = archive.read("BUNDLE.txt").decode()
    assert "left out: run/id_ed25519: its name says that it holds a secret" in listed
    assert [bool(entry.left_out) for entry in packed] == [False, True, True]


def test_the_same_members_give_the_same_bytes() -> None:
    """Two archives of one report can be compared by their digest."""
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        pack([Member(PurePosixPath("a.txt"), b"one")], stream)
    assert streams[0].getvalue() == streams[1].getvalue()


BED = {
    "overlay": "10.213.0.0/24",
    "pods": "10.136.0.0/16",
    "nodes": [
        {
            "name": "worker1",
            "management": "10.20.30.41",
            "management_interface": "mgmt0",
            "legs": [{"interface": "eth0", "address": "192.88.99.10/29"}],
        },
        {
            "name": "worker2",
            "management": "edge-7.corp.example",
            "management_interface": "eth0",
            "legs": [{"interface": "eth0", "address": "192.88.99.18/29"}],
        },
        {
            "name": "relay",
            "management": "192.88.99.26",
            "legs": [{"interface": "eth0", "address": "192.88.99.26/29"}],
        },
    ],
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("no SSH: 10.20.30.41 refused", "no SSH: (management) refused"),
        ("default via 10.20.30.1 dev x", "default via (management) dev x"),
        ('{"a": "x\\n10.20.30.0/24 dev mgmt0"}', '{"a": "x\\n(management)/24 dev mgmt0"}'),
        ("mgmt0@if8   UP   10.20.30.41/24 2001:db8::1/64 \nlo", "mgmt0@if8   UP   (management) \nlo"),
        ('"lo x \\nmgmt0 UP 2001:db8::1/64 \\neth0 UP"', '"lo x \\nmgmt0 UP (management) \\neth0 UP"'),
        ("edge-7.corp.example: timed out", "(management): timed out"),
        ("argv: /home/ops/src/run.py --out=/home/ops/x", "argv: (home)/src/run.py --out=(home)/x"),
    ],
)
def test_the_management_network_and_homes_stay_at_home(text: str, wanted: str) -> None:
    """Addresses near those of management, names, all that its interface has; and who ran it."""
    assert hiding_of(BED).text(text)[0] == wanted
    assert hiding_of(BED).text(wanted) == (wanted, 0)


@pytest.mark.parametrize(
    "text",
    [
        "192.88.99.10 192.88.99.26 10.213.0.1 10.136.0.65/32",
        "1.20.30.41.5 10.20.30.410 edge-7.corp.example.net my-edge-7.corp.example",
        "eth0@if9 UP 192.88.99.18/29",
        "https://doi.org/home/x",
    ],
)
def test_what_results_are_read_by_stays(text: str) -> None:
    """VLANs, overlay and pods, also where a node is managed over its VLAN; versions, and other names."""
    assert hiding_of(BED).text(text) == (text, 0)


@pytest.mark.parametrize(
    "name", ["notes.txt", "firewall/run@fw.json", "raw/.env", ".ssh/config", "report/other.html", "environ"]
)
def test_only_a_runs_own_files_go_in(name: str) -> None:
    """Not what somebody put beside them, nor a firewall's rules, nor anything hidden."""
    assert not belongs(PurePosixPath(name), RUN_FILES)


@pytest.mark.parametrize(
    "name", ["manifest.json", "journal.jsonl", "raw/a/b/1.json", "report/tables/x.csv", "report/report.html"]
)
def test_all_of_a_run_goes_in(name: str) -> None:
    """What its results are read from again, and the report below it."""
    assert belongs(PurePosixPath(name), RUN_FILES)
