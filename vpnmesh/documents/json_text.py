"""JSON that a run keeps, as values that can be written again."""

import json


def parse_json(text: str | bytes) -> object:
    """The value; ValueError or RecursionError (`errors.NO_JSON`) for what is none.

    JSON can name half a character (a lone surrogate), which no file and no terminal takes: a ValueError, too.
    """
    found: object = json.loads(text)
    escaped = "\\u" in text if isinstance(text, str) else b"\\u" in text
    if escaped:
        json.dumps(found, ensure_ascii=False).encode()
    return found
