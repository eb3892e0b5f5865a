"""A known secret is masked in whatever way a program writes it."""

import base64
import html
import json
import shlex
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnmesh.masks import masked
from vpnmesh.plan import Secret
from vpnmesh.report.bundle import mask

KERNEL = "Q7zK0wXv93"
"""Nobody writes it otherwise, and nothing else contains it."""
AROUND = st.text(alphabet=st.sampled_from("ab \t\"'\\%$`&<>;|?#+/=:@é\N{SNOWMAN}"), max_size=6)
SECRETS = st.builds("{}{}{}".format, AROUND, st.just(KERNEL), AROUND)
WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": json.dumps,
    "JSON with all letters": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps({"said": json.dumps({"password": text})}),
    "Python": repr,
    "a shell's word": shlex.quote,
    "a shell's word in double quotes": lambda text: (
        '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
    "URL": quote,
    "URL, part of a path": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "HTML": html.escape,
}
"""Ways that leave letters and digits as they are."""


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=40)
@given(secret=SECRETS)
def test_a_known_secret_is_masked_in_all_ways_of_writing(way: str, secret: str) -> None:
    """Nothing of it is left, with quotes, backslashes and percent signs on either side; the text around it stays."""
    text = masked(f"before {WAYS[way](secret)} after", (Secret(secret),))
    assert KERNEL not in text
    assert str(Secret(secret)) in text
    assert text.startswith("before ")
    assert text.endswith(" after")


@given(secret=SECRETS, name=st.text(alphabet="abcdefg:", max_size=7), after=st.text("xyz", max_size=3))
def test_a_header_with_the_secret_in_base64_is_masked(secret: str, name: str, after: str) -> None:
    """`Authorization: Basic` holds name and password in one word, so the secret begins at any of three places in it."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        sent = encode(f"{name}{secret}{after}".encode()).decode()
        left = masked(f"Authorization: Basic {sent}", (Secret(secret),))
        assert str(Secret(secret)) in left
        whole = f"{name}{secret}{after}".encode()
        kept = left.removeprefix("Authorization: Basic ").partition("<")[0]
        known = base64.urlsafe_b64decode(kept[: len(kept) // 4 * 4].replace("+", "-").replace("/", "_"))
        # of the secret itself at most the bits of a byte at either end are left
        assert whole.startswith(known)
        assert len(known) <= len(name.encode()) + 1


def test_every_line_of_a_secret_with_lines_is_masked() -> None:
    """A program that indents a key, or logs it line by line, shows none of it; what all keys begin with stays."""
    lines = ("-----BEGIN SECRET-----", "c2VjcmV0IGxpbmUgb25l", "c2VjcmV0IGxpbmUgdHdv", "-----END SECRET-----")
    text = masked("\n".join(f"  key: {line}" for line in lines), (Secret("\n".join(lines)),))
    assert "c2Vj" not in text
    assert text.startswith("  key: -----BEGIN SECRET-----\n  key: <secret ")


BUNDLED: dict[str, Callable[[str], str]] = {
    "JSON": lambda text: json.dumps({"password": text, "next": 1}),
    "JSON in JSON": lambda text: json.dumps({"reason": f"failed: {json.dumps({'setup_key': text})}"}),
    "Python": lambda text: repr({"password": text, "next": 1}),
    "argv": lambda text: shlex.join(("up", "--setup-key", text, "--next")),
    "argv in JSON": lambda text: json.dumps(["up", "--setup-key", text, "--next"]),
    # who writes these takes quotes for what begins with one
    "setting": lambda text: f"password=p{text.replace(' ', '').replace(chr(9), '')}\nnext=1",
    "line": lambda text: f"next: 1\npassphrase: p{text}\n",
}


# this net is as wide as its patterns: which examples it is tried with must not depend on the day
@pytest.mark.parametrize("way", BUNDLED)
@settings(max_examples=60, derandomize=True)
@given(secret=SECRETS)
def test_a_bundle_masks_what_nobody_knew(way: str, secret: str) -> None:
    """The archive's own net, by the name before it: whole, though it holds quotes, backslashes or spaces."""
    text, count = mask(BUNDLED[way](secret))
    assert KERNEL not in text
    assert count >= 1
    if way.startswith(("JSON", "argv in")):
        json.loads(text)
    assert mask(text) == (text, 0)


@pytest.mark.parametrize(
    "text", ["a", "-", "eyJ-", "eyJaaaaaaaa.", "\\", '"', "password='", 'token: ["a",', "x\n", "://a:"]
)
def test_no_text_takes_longer_than_its_length_asks_for(text: str) -> None:
    """A tool may print any number of letters in a row; both nets together take less than a second of them."""
    long = (text * 50_000)[:50_000]
    started = time.process_time()
    mask(masked(long, (Secret("winter2024"),)))
    assert time.process_time() - started < 10
