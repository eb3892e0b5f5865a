"""Where in a text the value of a secret begins and ends, by the name before it; pure.

A name tells that a value is secret, and the value's quotes tell where it ends: those of JSON, of JSON that is a text
in JSON, of YAML, Python and shells. Where two of these disagree, the longer value counts.
"""

import re
from collections.abc import Iterator

_NAMED = re.compile(
    r"(?P<name>(?i:passw(?:or)?d|passphrase|secret|token|api[_-]?key|auth[_-]?key|private[_-]?key|preshared[_-]?key|"
    r"preauth[_-]?key|setup[_-]?key|credential)s?)"
    # key: value, key = value with or without quotes; and --setup-key VALUE, also as two items of a JSON list
    r"""\\*["']?(?:\s*[:=]\s*|(?P<spaced>,?\s+))"""
)
# a name is looked for by its end alone: with what is before it, one long word (a file in base64) would be looked
# through anew from each of its letters
_BEFORE = 60
_OPTION = re.compile(r"--[\w.-]*\Z")
_LINE_BEGINS = re.compile(r"(?:\A|\n)[ \t]*[\w.-]*\Z")
_OPENS = re.compile(r"""(\\*)(["'])""")
# how shlex writes a quote inside of a quoted word, also where JSON escaped it
_SHELLS_QUOTE = re.compile(r"""\\*"'\\*"'""")
# quotes and backslashes belong to it where more of it follows
_BARE = re.compile(r"""(?:[^\s"'\\,}\]]|\\.|["'](?=[^\s,:;}\])>]))+""")
_UNCLOSED = re.compile(r"""(?:[^\s"]|"(?=[^\s,:;}\])>]))+""")
_JOINED = re.compile(rf"""(?![\s"'\\,:;}}\])>]){_BARE.pattern}""")
_NO_SECRET = re.compile(r"(?:null|true|false|none|~|\d+)\b", re.IGNORECASE)
_DONE = ("<masked>", "<secret ")
_REST = re.compile(r"[^\r\n]+")
_BETWEEN = re.compile(r"\s*,?\s*")


def secret_spans(text: str) -> Iterator[tuple[int, int]]:
    """From where to where the values are that a name tells to be secret, in order; none twice."""
    at = 0
    while named := _NAMED.search(text, at):
        at = named.end("name")
        for start, end in _values(text, named):
            if start < end and not text.startswith(_DONE, start):
                yield start, end
            at = max(at, end)


def _values(text: str, named: re.Match[str]) -> Iterator[tuple[int, int]]:
    at, before = named.end(), text[max(0, named.start() - _BEFORE) : named.start()]
    is_option = bool(_OPTION.search(before))
    if named["spaced"] and not is_option:
        return
    if quoted := _quoted(text, at):
        yield quoted
    elif text.startswith("[", at):
        yield from _items(text, at + 1)
    elif not text.startswith(("{", "-" if named["spaced"] else "{"), at) and (bare := _bare(text, named)):
        yield bare


def _items(text: str, at: int) -> Iterator[tuple[int, int]]:
    """The quoted values of a list."""
    while item := _quoted(text, at):
        yield item
        opened = _OPENS.match(text, at)
        assert opened is not None
        between = _BETWEEN.match(text, item[1] + len(opened[0]))
        assert between is not None
        at = between.end()


def _bare(text: str, named: re.Match[str]) -> tuple[int, int] | None:
    is_password = "pass" in named["name"].lower() and not named["spaced"]
    if not is_password and _NO_SECRET.match(text, named.end()):
        return None
    # a passphrase has spaces
    line = text[max(0, named.start() - _BEFORE) : named.start()]
    whole_line = is_password and bool(_LINE_BEGINS.search(line)) and not line.lstrip().startswith("--")
    found = (_REST if whole_line else _BARE).match(text, named.end())
    return found.span() if found else None


def _quoted(text: str, at: int) -> tuple[int, int] | None:
    """Inside of the quotes that open here; None where none do.

    Up to the next space where none close them in that line, and further where more follows at once, as shells have it.
    """
    opened = _OPENS.match(text, at)
    if opened is None:
        return None
    closed = _closing(text, opened)
    if closed is None:
        open_end = _UNCLOSED.match(text, opened.end())
        return (opened.end(), open_end.end()) if open_end else None
    joined = _JOINED.match(text, closed.end())
    return opened.end(), joined.end() if joined else max(opened.end(), closed.end() - len(opened[0]))


def _closing(text: str, opened: re.Match[str]) -> re.Match[str] | None:
    depth, closes = len(opened[1]), re.compile(rf"(\\*){opened[2]}|\n")
    at, last = opened.end(), None
    while (found := closes.search(text, at)) and found[0] != "\n":
        at, last = found.end(), found
        if inner := _SHELLS_QUOTE.match(text, at) if opened[2] == "'" else None:
            at = inner.end()
        # every level of text in text doubles the backslashes of what is inside, and adds one before a quote
        elif len(found[1]) % (2 * (depth + 1)) == depth:
            return found
    # a shell's single quotes know no escape
    return last
