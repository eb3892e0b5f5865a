"""What reaches a terminal: texts that only print, whatever a name, a node or somebody else's run has in them."""

from collections.abc import Iterator
from dataclasses import dataclass

import click
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.measure import Measurement
from rich.segment import Segment

from vpnmesh.errors import printable


def say(text: str, *, err: bool = False) -> None:
    """Print the text, on stderr where it is no result."""
    click.echo(_lines(text), err=err)


def harmless(console: Console) -> Console:
    """The same console, which from now on shows as numbers what would move its cursor, colour it, or do more."""
    console.push_render_hook(_OnlyPrints())
    return console


def _lines(text: str) -> str:
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


class _OnlyPrints(RenderHook):
    """Between a console and what is printed on it."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Each with its texts made harmless; rich's own control codes stay."""
        return [_Harmless(one) for one in renderables]


@dataclass(frozen=True, slots=True)
class _Harmless:
    inner: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for one in console.render(self.inner, options):
            yield one if one.control else Segment(_lines(one.text), one.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.inner)
