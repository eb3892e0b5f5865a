"""Known hosts are found as paramiko finds them, in one reading for all hosts."""

from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tasks.known_hosts import known_hosts, parse_known_hosts, private_key


def public() -> str:
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def test_what_is_found_is_what_paramiko_finds(tmp_path: Path) -> None:
    """Names in a list, ports, hashed names, comments, lines without a key, keys of unknown kinds."""
    hashed = paramiko.HostKeys.hash_host("hidden")
    file = tmp_path / "known_hosts"
    file.write_text(
        f"# c\n\na,b,10.0.0.1 {public()}\n[a]:2222 {public()} comment\n{hashed} {public()}\n"
        f"a {public()}\nshort line\nodd ssh-odd AAAA\n"
    )
    theirs = paramiko.HostKeys(str(file))
    for name in ("a", "b", "10.0.0.1", "[a]:2222", "hidden", "nobody", "*", "odd", "short"):
        wanted = theirs.lookup(name)
        found = known_hosts(str(file)).keys(name)
        assert [key.get_base64() for key in (wanted or {}).values()][:1] == [
            key.get_base64() for key in found
        ][:1]


def test_a_line_that_is_wrong_spoils_no_other() -> None:
    """Where paramiko would refuse the whole file: a marked line, half a key, half a hash."""
    known = parse_known_hosts(
        f"@cert-authority * {public()}\nbad ssh-ed25519 A\n|1|x {public()}\na {public()}\n"
    )
    assert [len(known.keys(name)) for name in ("*", "bad", "x", "a")] == [0, 0, 0, 1]


def test_a_file_that_changed_is_read_again_and_one_that_is_missing_is_empty(tmp_path: Path) -> None:
    """A node that was known a moment later is known."""
    file = tmp_path / "known_hosts"
    assert known_hosts(str(file)).keys("a") == []
    file.write_text(f"b {public()}\n")
    assert known_hosts(str(file)).keys("a") == []
    file.write_text(f"b {public()}\na {public()}\n")
    assert len(known_hosts(str(file)).keys("a")) == 1


def test_a_thousand_hosts_are_looked_up_and_not_searched() -> None:
    """No line is parsed but the host's own."""
    key = public()
    known = parse_known_hosts("".join(f"h{number} {key}\n" for number in range(1000)))
    assert [len(known.named["h7"]), len(known.hashed)] == [1, 0]


@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_a_login_key_is_read_once(tmp_path: Path, passphrase: str | None) -> None:
    """Decrypting it takes a tenth of a second and more; a wrong passphrase is an error each time."""
    key = Ed25519PrivateKey.generate()
    how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    file = tmp_path / "id_ed25519"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, how))
    first = private_key(str(file), passphrase)
    assert private_key(str(file), passphrase) is first
    if passphrase:
        with pytest.raises(ValueError):  # noqa: PT011 - whatever the library says
            private_key(str(file), "wrong")
