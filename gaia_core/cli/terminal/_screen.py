"""Where an answer is written: a terminal, with markdown as it comes, or plain text for pipes and files.

On a terminal nothing that was written is written again, but for the region at the bottom: the block of markdown that
still grows, or what is being waited for. In plain text the answer alone goes to stdout, all the rest to stderr.
"""

import os
import re
import sys
import time
from typing import Protocol, TextIO, TypeAlias

from rich.console import Console
from rich.control import Control
from rich.markdown import Markdown
from rich.padding import Padding
from rich.segment import ControlType, Segment, SegmentLines
from rich.text import Text

from gaia_core.cli.terminal._markdown import GrowingMarkdown, parser

Lines: TypeAlias = list[list[Segment]]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_FRAME_SECONDS = 0.06
_INDENT = 2


def clean(text: str) -> str:
    """*text* without what could steer a terminal (escape sequences, bidirectional overrides) or not be encoded."""
    text = text.replace("\r", "")
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub("\ufffd", text).encode("utf-8", "replace").decode()


class Screen(Protocol):
    """What events are shown on."""

    def text(self, text: str) -> None:
        """More of the answer."""

    def reasoning(self, text: str) -> None:
        """More of the model's reasoning."""

    def line(self, text: str, style: str = "") -> None:
        """A line that stays."""

    def aside(self, text: str, depth: int) -> None:
        """A sub-agent's whole text, *depth* agents below."""

    def waiting(self) -> None:
        """The model is asked."""

    def status(self, text: str) -> None:
        """What is being waited for, until something else is shown."""

    def draw(self) -> float | None:
        """Draw what is due; the seconds until more is, None when all is drawn."""

    def rest(self) -> None:
        """Draw everything, and leave the cursor at the beginning of a line."""


class PlainScreen:
    """The answer on *out*, everything else on *err*; no reasoning."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._open = False
        self._ends = False
        self._gap = ""
        self._status = ""

    def text(self, text: str) -> None:
        """See `Screen`."""
        if not self._open:
            text = text.lstrip("\n")
            if not text:
                return
            self._out.write(self._gap)
        self._open = True
        self._ends = text.endswith("\n") if text else self._ends
        self._out.write(clean(text) if self._out.isatty() else text.encode("utf-8", "replace").decode())
        self._out.flush()

    def reasoning(self, text: str) -> None:
        """See `Screen`."""

    def line(self, text: str, style: str = "") -> None:  # noqa: ARG002
        """See `Screen`."""
        self.rest()
        self._err.write(f"{clean(text)}\n")
        self._err.flush()

    def aside(self, text: str, depth: int) -> None:
        """See `Screen`."""
        self.line("\n".join(" " * _INDENT * depth + line for line in text.splitlines()))

    def waiting(self) -> None:
        """See `Screen`."""
        self.rest()

    def status(self, text: str) -> None:
        """See `Screen`."""
        if text != self._status:
            self._status = text
            self.line(text)

    def draw(self) -> float | None:
        """See `Screen`."""
        return None

    def rest(self) -> None:
        """See `Screen`."""
        if self._open:
            self._out.write("" if self._ends else "\n")
            self._out.flush()
            self._open, self._gap = False, "\n"


class TerminalScreen:
    """A terminal. One screen shows one turn after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._markdown = GrowingMarkdown()
        self._bottom: Lines | None = None
        """The region as it was written; None: there is none, and the cursor is shown."""
        self._cuts_lines = "XTERM_VERSION" in os.environ
        self._last = ""
        """What was written last: text, reasoning, line, or nothing yet."""
        self._open = ""
        """Which of text and reasoning may go on."""
        self._breaks = ""
        self._blocks = 0
        self._dirty = False
        self._due = 0.0

    def text(self, text: str) -> None:
        """See `Screen`."""
        text = clean(text)
        if self._open != "text":
            text = text.lstrip("\n")
            if not text.strip():
                return
            self._begin("text")
            self._blocks = 0
        self._markdown.add(text)
        self._dirty = True

    def reasoning(self, text: str) -> None:
        """See `Screen`."""
        text = clean(text)
        if self._open != "reasoning":
            text = text.lstrip("\n")
            if not text:
                return
            self._begin("reasoning")
        # Line breaks wait for what follows them: at the end they would be empty lines.
        text = self._breaks + text
        self._breaks = text[len(text.rstrip("\n")) :]
        text = text.removesuffix(self._breaks)
        self._console.print(Text(text, style="dim italic"), end="", soft_wrap=True)

    def line(self, text: str, style: str = "") -> None:
        """See `Screen`."""
        self._begin("line")
        self._console.print(Text(clean(text), style=style), soft_wrap=True)

    def aside(self, text: str, depth: int) -> None:
        """See `Screen`."""
        self._begin("line")
        self._console.print(Padding(Text(clean(text).strip("\n"), style="dim"), (0, 0, 0, _INDENT * depth)))

    def waiting(self) -> None:
        """See `Screen`."""
        if self._bottom is None or self._open:  # what is said already says more
            self.status("…")

    def status(self, text: str) -> None:
        """See `Screen`."""
        self._close()
        flat = Text(" ".join(clean(text).split()), style="dim")
        self._region(self._console.render_lines(flat, pad=False))

    def draw(self) -> float | None:
        """See `Screen`."""
        if not self._dirty:
            return None
        now = time.monotonic()
        if now < self._due:
            return self._due - now
        above = self._blocks_of(self._markdown.settle())
        self._region(self._tail(), above)
        self._dirty = False
        # What takes long to draw is drawn less often: at most a quarter of the time goes into it.
        self._due = time.monotonic() + max(_FRAME_SECONDS, 3 * (time.monotonic() - now))
        return None

    def rest(self) -> None:
        """See `Screen`."""
        self._close()
        self._clear()
        self._last = ""

    def _begin(self, what: str) -> None:
        """End what is open, and begin *what*, after an empty line unless it is a line after lines."""
        self._close()
        self._clear()
        if self._last and (self._last, what) != ("line", "line"):
            self._console.print()
        self._last = what
        self._open = what if what != "line" else ""

    def _close(self) -> None:
        """End the text or reasoning that is open: all of it is drawn, for good."""
        if self._open == "reasoning":
            self._console.print()
            self._breaks = ""
        elif self._open == "text":
            self._region([], self._blocks_of(self._markdown.end()))
            self._dirty = False
        self._open = ""

    def _blocks_of(self, markdown: tuple[str, ...]) -> Lines:
        """The lines of settled blocks, with empty ones between them and those before."""
        lines: Lines = []
        for block in markdown:
            if drawn := self._lines(block):
                lines += [[], *drawn] if self._blocks else drawn
                self._blocks += 1
        return lines

    def _tail(self) -> Lines:
        """As much of the open block's end as fits on the screen: a region that is higher could not be drawn anew."""
        lines = self._lines(self._markdown.open)
        if lines and self._blocks:
            lines = [[], *lines]
        return lines[-max(1, self._console.height - 3) :]

    def _lines(self, markdown: str) -> Lines:
        """*markdown* as lines, without empty ones at its ends."""
        # The terminal's own colours; links are written out, so that nobody is sent elsewhere than the text says.
        rendered = Markdown(markdown, code_theme="ansi_dark", hyperlinks=False)
        rendered.parsed = parser().parse(markdown)
        lines = self._console.render_lines(rendered, self._console.options.update(height=None), pad=False)
        lines = [_stripped(line) for line in lines]
        full = [index for index, line in enumerate(lines) if line]
        return lines[full[0] : full[-1] + 1] if full else []

    def _region(self, bottom: Lines, above: Lines | None = None) -> None:
        """Write *above* for good, and *bottom* as the region that is erased by what comes next."""
        if self._bottom is None:
            self._console.show_cursor(False)
        with self._console:  # one write, so that nothing flickers
            self._erase()
            # The cursor waits on a line of its own: what is typed meanwhile, ^C for example, must not wrap a line.
            self._console.print(SegmentLines([*(above or ()), *bottom], new_lines=True), end="")
        self._bottom = bottom

    def _erase(self) -> None:
        """Erase the region, and leave the cursor at its beginning."""
        up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
        rows = min(sum(map(self._rows, self._bottom or ())), self._console.height - 1)
        if rows:
            self._console.control(Control(ControlType.CARRIAGE_RETURN, *(up * rows)))

    def _rows(self, line: list[Segment]) -> int:
        """The rows that a written *line* has now: a terminal that became narrower wraps it (xterm cuts it off)."""
        if self._cuts_lines:
            return 1
        return max(1, -(-Segment.get_line_length(line) // self._console.width))

    def _clear(self) -> None:
        if self._bottom is not None:
            with self._console:
                self._erase()
            self._bottom = None
            self._console.show_cursor(True)


def _stripped(line: list[Segment]) -> list[Segment]:
    """*line* without the spaces at its end that fill the screen's width, and the copied text as well."""
    while line and (line[-1].style is None or line[-1].style.bgcolor is None):
        if text := line[-1].text.rstrip():
            return [*line[:-1], Segment(text, line[-1].style)]
        line = line[:-1]
    return line


def page_here() -> Screen:
    """As `screen_here`, where all of it is what was asked for: a pipe gets it whole."""
    screen = screen_here()
    return screen if isinstance(screen, TerminalScreen) else PlainScreen(sys.stdout, sys.stdout)


def screen_here() -> Screen:
    """The screen of this process: a terminal's when stdout is one that can move its cursor."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")  # an arrow must not end a conversation on an old terminal
    console = Console(highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return TerminalScreen(console)
    return PlainScreen(sys.stdout, sys.stderr)
