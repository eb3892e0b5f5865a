"""Inputs made wrong: values, text and bytes, each by small steps that chance chooses."""

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import yaml

from vpnmesh.errors import NO_JSON

Json = Any
HOSTILE = (
    "'", '"', "`touch canary`", "$(touch canary)", "; touch canary", "| touch canary &", "\ntouch canary\n",
    "../../../etc/passwd", "/etc/passwd", "-rf", "--", "~root", "*", "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>', "' onload='alert(1)", "]]>", "{{7*7}}", "{name}", "%s%n", "[red]x[/red]",
    "\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "\r", "\b\b", "=cmd|' /C calc'!A0", "@SUM(1)", "|", "\\",
    "\u202eevil", "\ufeff", "a\0b", "\ud800", "\U0001f4a9", "e\u0301" * 40, "x" * 5000, "null", "NaN", "-nan",
    "1e999", "0x10", "\u0661\u0662", "\u00b2", "1,5", "1_000", "-1", "", " ", "\t", "none", "True", "2026-13-45",
)  # fmt: skip
NUMBERS: tuple[object, ...] = (
    0, -0.0, -1, 1, 0.1, -0.5, 100, 101, 65536, 2**31, 2**63, 2**64, 10**30, 10**400, -(10**400), 1e308, 5e-324,
    float("nan"), float("inf"), float("-inf"), True, False,
)  # fmt: skip
ODD: tuple[object, ...] = (None, [], {}, [None], [[]], {"": None}, "", *NUMBERS, *HOSTILE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_KEY = re.compile(r'"([^"\\]{1,40})": ?')
_DEEP = 60
_VERY_DEEP = 20_000
Text = Callable[[Random, str], str]


def tree(rng: Random, value: Json, most: int = 3) -> Json:
    """A value for JSON or YAML with one to some places in it changed; the value itself stays as it is."""
    changed = copy.deepcopy(value)
    for _ in range(rng.randint(1, most)):
        changed = _changed(rng, changed)
    return changed


def _changed(rng: Random, value: Json) -> Json:
    holder, key = _place(rng, value)
    if holder is None:
        return _odd(rng, value)
    rng.choice(_STEPS)(rng, holder, key)
    return value


def _place(rng: Random, value: Json) -> tuple[Json, Json]:
    """A container and a key in it, met on a walk from the top; None where the value itself holds nothing."""
    holder: Json = None
    key: Json = None
    while isinstance(value, dict | list) and value and (holder is None or rng.random() < 0.8):
        holder = value
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        value = value[key]
    return holder, key


def _odd(rng: Random, value: Json) -> Json:
    """Something else in a value's place: of another type, or of the same and yet strange."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or rng.random() < 0.3:
        return copy.deepcopy(rng.choice(ODD))
    if isinstance(value, str):
        return rng.choice([rng.choice(HOSTILE), value + rng.choice(HOSTILE), rng.choice(HOSTILE) + value])
    small = value if abs(value) < 1e15 else 7
    return rng.choice([rng.choice(NUMBERS), -small, small * 10, small / 3, str(small), small + 1])


def _replace(rng: Random, holder: Json, key: Json) -> None:
    holder[key] = _odd(rng, holder[key])


def _delete(_rng: Random, holder: Json, key: Json) -> None:
    del holder[key]


def _again(rng: Random, holder: Json, key: Json) -> None:
    """A list's entry twice, or a mapping's under another name."""
    if isinstance(holder, list):
        holder.insert(rng.randint(0, len(holder)), copy.deepcopy(holder[key]))
    else:
        holder[rng.choice([str(key).upper(), f"{key} ", rng.choice(HOSTILE), "extra"])] = holder[key]


def _rename(rng: Random, holder: Json, key: Json) -> None:
    if isinstance(holder, dict):
        holder[rng.choice([rng.choice(HOSTILE), 7, True, None])] = holder.pop(key)
    else:
        rng.shuffle(holder)


def _wrap(rng: Random, holder: Json, key: Json) -> None:
    held = holder[key]
    holder[key] = rng.choice([[held], {"x": held}, json.dumps(held, default=str)])


def _bury(rng: Random, holder: Json, key: Json) -> None:
    for _ in range(_DEEP):
        holder[key] = [holder[key]]


def _swap(rng: Random, holder: Json, key: Json) -> None:
    other = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    holder[key], holder[other] = holder[other], holder[key]


_STEPS = (_replace, _replace, _replace, _delete, _again, _rename, _wrap, _bury, _swap)


def text(rng: Random, value: str) -> str:
    """Text with one to three changes: cut, doubled, numbers and characters replaced, words of an attacker put in."""
    for _ in range(rng.randint(1, 3)):
        value = rng.choice(_TEXT_STEPS)(rng, value)
    return value


def _span(rng: Random, value: str, most: int = 80) -> tuple[int, int]:
    start = rng.randint(0, len(value))
    return start, min(len(value), start + rng.randint(1, most))


def cut(rng: Random, value: str) -> str:
    """The beginning only."""
    return value[: rng.randint(0, len(value))]


def _lose(rng: Random, value: str) -> str:
    start, end = _span(rng, value)
    return value[:start] + value[end:]


def _double(rng: Random, value: str) -> str:
    start, end = _span(rng, value)
    return value[:end] + value[start:end] + value[end:]


def _insert(rng: Random, value: str) -> str:
    at = rng.randint(0, len(value))
    return value[:at] + rng.choice(HOSTILE) + value[at:]


def _number(rng: Random, value: str) -> str:
    """One of the numbers replaced, by another or by what is none."""
    found = list(_NUMBER.finditer(value))
    if not found:
        return value
    one = rng.choice(found)
    return (
        value[: one.start()]
        + str(rng.choice([*NUMBERS, "", "-", "1,5", "-nan", "1e999"]))[:500]
        + value[one.end() :]
    )


def _line(rng: Random, value: str) -> str:
    """A line lost, doubled, moved, or put before the first."""
    lines = value.splitlines(keepends=True)
    if not lines:
        return value
    at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(3):
        case 0:
            del lines[at]
        case 1:
            lines.insert(to, lines[at])
        case _:
            lines[at], lines[to] = lines[to], lines[at]
    return "".join(lines)


def _dress(rng: Random, value: str) -> str:
    """The same in other clothes: line ends, byte order mark, letters, decimal commas, blanks."""
    return rng.choice(
        [
            value.replace("\n", "\r\n"),
            "\ufeff" + value,
            value.upper(),
            re.sub(r"(\d)\.(\d)", r"\1,\2", value),
            value.replace(" ", "\t"),
            value.replace("\n", ""),
            value + "\0",
            value + value,
            "",
        ]
    )


_TEXT_STEPS: tuple[Text, ...] = (cut, _lose, _double, _insert, _number, _number, _line, _line, _dress)


def json_text(rng: Random, value: str) -> str:
    """JSON as text, wrong inside or no JSON any more."""
    if rng.random() < 0.35:
        return text(rng, value)
    try:
        changed = tree(rng, json.loads(value))
    except NO_JSON:
        return text(rng, value)
    written = json.dumps(changed, indent=rng.choice([None, 2]), ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.1:
        return _key_twice(rng, written)
    if rng.random() < 0.02:
        return "[" * _VERY_DEEP + written
    return cut(rng, written) if rng.random() < 0.1 else written


def _key_twice(rng: Random, written: str) -> str:
    found = list(_KEY.finditer(written))
    if not found:
        return written
    one = rng.choice(found)
    odd = json.dumps(rng.choice([1, 0, None, "x", [], {}]))
    return f'{written[: one.start()]}"{one[1]}": {odd}, {written[one.start() :]}'


def json_lines(rng: Random, value: bytes) -> bytes:
    """Lines of JSON, one or two of them wrong, out of order, twice or cut off."""
    lines = value.decode().splitlines()
    if not lines or rng.random() < 0.25:
        return raw(rng, value)
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(lines))
        match rng.randrange(8):
            case 0:
                lines.insert(rng.randrange(len(lines) + 1), lines[at])
            case 1 if len(lines) > 1:
                del lines[at]
            case _:
                lines[at] = json_text(rng, lines[at])
    ended = "" if rng.random() < 0.2 else "\n"
    return _encoded(rng, "\n".join(lines) + ended)


_BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
_YAML = (
    _BOMB, "? [a]\n: b\n", "<<: 3\n", "<<: *nowhere\n", "&a {b: *a}\n", "a: !!python/object/apply:os.system [true]\n",
    "a: !!binary =\n", "a: !!set {x, x}\n", "a: !!timestamp nonsense\n", "a: !!int x\n", "a: !!float x\n",
    "a: 2026-13-45\n", "a: 0o9\n", "a: 1:99:99\n", "---\n", "...\n", "%YAML 9.9\n---\n", "a: |\n x\n", "a: >-\n",
    "\t- a\n", "{", "[", "- - - -\n", "a: &x {b: 1}\nc: {<<: *x}\n", "a: .nan\nb: .inf\nc: -.inf\n", "on: off\n",
    "a: 'x\n", 'a: "\\x"\n', "!!null\n", "a: !<tag:yaml.org,2002:str> 1\n", "0x1F: 1\n", "~: 1\n", "=: 1\n",
)  # fmt: skip


def yaml_bytes(rng: Random, value: bytes) -> bytes:
    """A YAML file, wrong inside, with what YAML has of traps, or no YAML any more."""
    chance = rng.random()
    if chance < 0.2:
        return raw(rng, value)
    if chance < 0.35:
        return rng.choice([rng.choice(_YAML).encode() + value, value + b"\n" + rng.choice(_YAML).encode()])
    changed = tree(rng, yaml.safe_load(value))
    try:
        written = yaml.safe_dump(changed, sort_keys=False, allow_unicode=rng.random() < 0.5, width=1000)
    except (yaml.YAMLError, ValueError):
        return raw(rng, value)
    return _encoded(rng, text(rng, written) if rng.random() < 0.1 else written)


def raw(rng: Random, value: bytes) -> bytes:
    """Bytes cut, lost, turned over, or in another encoding."""
    match rng.randrange(6):
        case 0:
            return value[: rng.randint(0, len(value))]
        case 1:
            start, end = _span(rng, "x" * len(value), 200)
            return value[:start] + value[end:]
        case 2:
            return _flipped(rng, value)
        case 3:
            at = rng.randint(0, len(value))
            return (
                value[:at]
                + rng.choice((b"\0", b"\xff", b"\xc3", b"\x1b", b"\r", b"\xed\xa0\x80"))
                + value[at:]
            )
        case 4:
            return rng.randbytes(rng.randint(0, 200))
        case _:
            return _encoded(rng, text(rng, value.decode("utf-8", "replace")))


def _flipped(rng: Random, value: bytes) -> bytes:
    changed = bytearray(value)
    for _ in range(rng.randint(1, 8) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _encoded(rng: Random, value: str) -> bytes:
    encoding = rng.choices(["utf-8", "utf-8-sig", "latin-1", "utf-16"], weights=[92, 3, 3, 2])[0]
    return value.encode(encoding, "surrogatepass" if encoding == "utf-8" else "replace")


def one_of(
    files: Mapping[str, Any], change: Callable[[Random, Any, str], Any], rng: Random
) -> dict[str, Any]:
    """Files by name, one or two of them changed, empty, missing, or with another one's content."""
    changed = dict(files)
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice(list(files))
        if (chance := rng.random()) < 0.03:
            changed.pop(name, None)
        elif chance < 0.06:
            changed[name] = files[rng.choice(list(files))]
        else:
            changed[name] = change(rng, files[name], name)
    return changed


def chosen(rng: Random, values: Sequence[Any], most: int) -> list[Any]:
    """Up to so many of the values, in any order, also twice."""
    return [rng.choice(values) for _ in range(rng.randint(0, most))]
