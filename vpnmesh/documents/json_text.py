"""JSON that a run keeps, as values that can be written again."""

import json


def parse_json(text: str | bytes) -> object:
    """The value; ValueError or RecursionError (`errors.NO_JSON`) for what is none.

    JSON can name half a character (a lone surrogate), which no file and no terminal takes: a ValueError, too. So are
    bytes that are no UTF-8: `json.loads` itself lets half characters through there.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    found: object = json.loads(text)
    if "\\u" in text:
        json.dumps(found, ensure_ascii=False).encode()
    return found
