"""Turns a page into one HTML file that needs nothing else, or into Markdown beside its figures.

The HTML forbids itself every request (`default-src 'none'`): what the browser shows is in the file.
"""

import re
from collections.abc import Sequence

import jinja2

from vpnmesh.report.page import Answers, Block, FigureBlock, Heading, Items, Page, Paragraph, TableBlock
from vpnmesh.report.svg import inline

_ANSWER_COLUMNS = ("test", "condition", "fastest first", "decided", "the rest takes")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_WIDE = 20
"""Tables with more rows than this get a filter."""


def render_html(page: Page) -> str:
    """The page as one self-contained HTML file: figures inline, tables sortable, light and dark."""
    return _environment().get_template("report.html.j2").render(page=page, many=_WIDE)


def render_markdown(page: Page) -> str:
    """The page as Markdown; figures are links to `figures/*.svg`."""
    facts = "\n".join(f"- **{name}:** {text}" for name, text in page.facts)
    parts = [f"# {page.title}", page.lead, *map(_markdown, page.first), facts]
    for section in page.sections:
        parts.append(f"## {section.title}")
        parts.extend(_markdown(block) for block in section.blocks)
    return _without_tags("\n\n".join(part for part in parts if part)) + "\n"


def _without_tags(text: str) -> str:
    """Markdown takes HTML as it is: what a name or a tool's words begin as a tag is a sign, and no tag."""
    return _TAG.sub("&lt;", text)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vpnmesh.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["inline"] = inline
    environment.tests["paragraph"] = lambda block: isinstance(block, Paragraph)
    environment.tests["heading"] = lambda block: isinstance(block, Heading)
    environment.tests["items"] = lambda block: isinstance(block, Items)
    environment.tests["table"] = lambda block: isinstance(block, TableBlock)
    environment.tests["answers"] = lambda block: isinstance(block, Answers)
    environment.tests["figure"] = lambda block: isinstance(block, FigureBlock)
    return environment


def _markdown(block: Block) -> str:
    match block:
        case Paragraph(text, kind):
            return f"> **Warning.** {text}" if kind == "warning" else text
        case Heading(text):
            return f"### {text}"
        case Items(title, items):
            lines = "\n".join(f"- {item}" for item in items)
            return f"**{title}**\n\n{lines}" if title else lines
        case FigureBlock(name, caption, svg):
            return f"![{name}](figures/{name}.svg)\n\n*{caption}*" if svg else f"*{caption}*"
        case TableBlock():
            return _markdown_table(block)
        case Answers():
            return _markdown_answers(block)


def _markdown_answers(block: Answers) -> str:
    lines = [_markdown_row(_ANSWER_COLUMNS), _markdown_row(["---"] * len(_ANSWER_COLUMNS))]
    lines += [
        _markdown_row([row.test, ", ".join(row.conditions), row.text, row.decided, row.rest])
        for row in block.rows
    ]
    further = [f"{one.text}: `{one.command}`" if one.command else one.text for one in block.further]
    return "\n\n".join([*block.summary, "\n".join(lines), f"*{block.reading}*", *further])


def _markdown_table(block: TableBlock) -> str:
    if not block.rows:
        return f"*{block.caption} No rows.*"
    numeric = [
        any(row[index].number is not None for row in block.rows) for index in range(len(block.columns))
    ]
    lines = [
        _markdown_row(block.columns),
        "|" + "|".join(" ---: " if number else " --- " for number in numeric) + "|",
    ]
    lines += [_markdown_row([cell.text for cell in row]) for row in block.rows]
    file = f" Full precision: `{block.file}`." if block.file else ""
    return "\n".join([*lines, "", f"*{block.caption}{file}*"])


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
