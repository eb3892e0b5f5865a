"""The text of a figure after it was drawn: small, without dates, with ids of its own, in the colours of its page.

Ink is drawn in one marked colour and then becomes `currentColor`, so that a figure follows its page, light or dark; the
standalone files carry a style of their own.
"""

import re

_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
"""What no XML may hold (XML 1.0, section 2.2), and the other control characters."""
INK = "#010203"
_STYLE = (
    "<style>svg{color:#16191d;background:#fff}"
    "@media(prefers-color-scheme:dark){svg{color:#e4e7ea;background:#14171a}}</style>"
)


def tidy(text: str, name: str, title: str) -> str:
    """What matplotlib wrote, as the file of that figure; `title` is what a screen reader says."""
    text = _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text[text.index("<svg") :])
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    # coordinates to a hundredth of a point, inside tags only: what is written in the figure stays as it is
    text = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), text)
    # several figures share one page, so their ids must not meet
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    head, _, body = text.partition(">")
    escaped = title.replace("&", "&amp;").replace("<", "&lt;")
    return f'{head} role="img">\n{_STYLE}\n<title>{escaped}</title>{body}'


def inline(svg: str) -> str:
    """The same figure for a page that has colours of its own."""
    return svg.replace(_STYLE + "\n", "", 1)
