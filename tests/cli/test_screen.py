"""The two screens: what stays, what is erased, and what can't pass."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gaia_core.cli.terminal._screen import PlainScreen, TerminalScreen, clean

ANSWER = (
    "# Title\n\nSome *words* that are many enough to be wrapped in so narrow a terminal as this.\n\n- one\n- two\n"
    "  1. three\n\n```python\n" + "".join(f"x{n} = {n}\n" for n in range(20)) + "```\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted\n\nThe `end`, with a [link](http://example.org/x)."
)


class Drawn:
    """A terminal screen on an emulator. Time doesn't matter: whatever is due is drawn when the test says so."""

    def __init__(self, emulator, width=40, height=12):
        self.out = io.StringIO()
        console = Console(
            file=self.out, force_terminal=True, width=width, height=height, legacy_windows=False, highlight=False
        )
        self.screen = TerminalScreen(console)
        self.emulator = emulator(width, height)

    def draw(self):
        self.screen._due = 0.0
        assert self.screen.draw() is None
        return self.seen

    @property
    def seen(self) -> str:
        self.emulator.feed(self.out.getvalue().replace("\n", "\r\n"))
        self.out.seek(0)
        self.out.truncate()
        return self.emulator.text


@pytest.fixture
def drawn(emulator):
    return Drawn(emulator)


def test_an_answer_in_one_piece(drawn):
    drawn.screen.text(ANSWER)
    drawn.screen.rest()

    assert drawn.seen.split("\n") == [
        "                 Title",
        "",
        "Some words that are many enough to be",
        "wrapped in so narrow a terminal as this.",
        "",
        " • one",
        " • two",
        "    1 three",
        "",
        *(f" x{n} = {n}" for n in range(20)),
        "",
        " a  b",
        " ────",
        " 1  2",
        "",
        "▌ quoted",
        "",
        "The end, with a link",
        "(http://example.org/x).",
    ]


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, len(ANSWER)), max_size=40).map(sorted))
def test_it_looks_the_same_however_it_comes(emulator, cuts):
    whole, pieces = Drawn(emulator), Drawn(emulator)
    whole.screen.text(ANSWER)
    whole.screen.rest()
    for start, end in zip((0, *cuts), (*cuts, len(ANSWER)), strict=True):
        pieces.screen.text(ANSWER[start:end])
        pieces.draw()
    pieces.screen.rest()

    assert pieces.seen == whole.seen


def test_what_is_open_is_seen_at_once(drawn):
    drawn.screen.text("One **bo")
    assert drawn.draw() == "One **bo"
    drawn.screen.text("ld**")
    assert drawn.draw() == "One bold"


def test_a_long_open_block_shows_its_end(drawn):
    drawn.screen.text("Code:\n```\n")
    for number in range(30):
        drawn.screen.text(f"line {number}\n")
        seen = drawn.draw().split("\n")

        assert seen[0] == "Code:"
        assert seen[-1] == f" line {number}"
        assert len(seen) <= 12


def test_drawing_waits_for_its_time(drawn):
    drawn.screen.text("a")
    assert drawn.screen.draw() is None
    drawn.screen.text("b")

    assert 0 < drawn.screen.draw() < 60
    assert drawn.seen == "a"
    assert drawn.draw() == "ab"
    assert drawn.screen.draw() is None


def test_what_is_waited_for_is_erased(drawn):
    drawn.screen.line("→ a()")
    drawn.screen.waiting()
    assert drawn.seen == "→ a()\n…"
    drawn.screen.status("queued: position 2")
    drawn.screen.waiting()
    assert drawn.seen == "→ a()\nqueued: position 2"
    drawn.screen.line("← b")
    drawn.screen.rest()

    assert drawn.seen == "→ a()\n← b"


def test_the_kinds_are_kept_apart(drawn):
    screen = drawn.screen
    screen.text("\n\nFirst.\n")
    screen.line("→ a()")
    screen.line("← b")
    screen.reasoning("\nHm")
    screen.reasoning("m.\n\n")
    screen.text("Second.")
    screen.aside("one\ntwo", 1)
    screen.rest()
    screen.line("next")

    assert drawn.seen == "First.\n\n→ a()\n← b\n\nHmm.\n\nSecond.\n\n  one\n  two\nnext"


def test_an_answer_of_spaces_is_none(drawn):
    drawn.screen.text("\n")
    drawn.screen.text(" \n")
    drawn.screen.reasoning("\n")
    drawn.screen.rest()

    assert drawn.seen == ""


@pytest.mark.parametrize("show", ["text", "reasoning", "line", "status"])
def test_nothing_steers_the_terminal(drawn, show):
    getattr(drawn.screen, show)("safe\x1b[2J\x1b]0;title\x07\x9b31m\r\u202efdp.exe end")
    drawn.screen.draw()
    written = drawn.out.getvalue()
    drawn.screen.rest()

    assert "[2J" in written
    for piece in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e"):
        assert piece not in written


def test_html_and_markup_are_text(drawn):
    drawn.screen.text("<think>no</think> [bold]x[/bold] :smile:")
    drawn.screen.line("[red]y[/red] {z}")
    drawn.screen.rest()

    assert drawn.seen == "<think>no</think> [bold]x[/bold] :smile:\n\n[red]y[/red] {z}"


def test_clean_keeps_what_is_text():
    assert clean("a\tb\nc ü 😀 \u200f") == "a\tb\nc ü 😀 \u200f"
    assert clean("\ud800\r\n") == "?\n"


def test_plain_text():
    out, err = io.StringIO(), io.StringIO()
    screen = PlainScreen(out, err)
    screen.waiting()
    screen.reasoning("never seen")
    screen.text("\n")
    screen.text("\nFirst ")
    screen.text("one.")
    screen.line("→ a()\x1b[2J", "red")
    screen.status("queued: position 2")
    screen.status("queued: position 2")
    screen.aside("x\ny", 2)
    screen.text("Second.\n")
    assert screen.draw() is None
    screen.rest()
    screen.rest()

    assert out.getvalue() == "First one.\n\nSecond.\n"
    assert err.getvalue() == "→ a()\ufffd[2J\nqueued: position 2\n    x\n    y\n"


class Dumb(io.StringIO):
    """A terminal that can't move its cursor, as its TERM says."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("out", "written"), [(io.StringIO, "\x1b[1mbold?\n"), (Dumb, "\ufffd[1mbold?\n")])
def test_a_file_gets_what_the_model_wrote_and_a_dumb_terminal_what_is_harmless(out, written):
    stream = out()
    screen = PlainScreen(stream, io.StringIO())
    screen.text("\x1b[1mbold\ud800")
    screen.rest()

    assert stream.getvalue() == written


@pytest.mark.parametrize("widths", [(25, 60), (60, 25), (39, 38, 37), (24,)])
def test_a_resized_terminal_shows_nothing_twice(drawn, widths):
    """The region at the bottom is wrapped anew by the terminal, and erased as it stands then."""
    drawn.screen.text("- a point that is wrapped by a narrow terminal\n- another point that is as long as that\n")
    drawn.draw()
    for width in widths:
        drawn.emulator.resize(width)
        drawn.screen._console.width = width
        drawn.screen.text("- more\n")
        drawn.draw()
    drawn.screen.rest()

    words = drawn.seen.split()
    assert words.count("another") == 1
    assert words.count("narrow") == 1
    assert words.count("more") == len(widths)
