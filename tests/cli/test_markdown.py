"""Markdown that grows: however it comes, the same blocks are settled, and each of them once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core.cli.terminal._markdown import GrowingMarkdown

LINES = (
    "", "", "words", "# heading", "#", "---", "===", "- item", "  more", "    code", "1. one", "> quote", "```",
    "```py", "~~~", "| a | b |", "|---|---|", "| 1 | 2 |", "<div>", "[a]: http://x", "**bold", "* * *", "\t- tab",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(LINES), max_size=14).map("\n".join)


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("", ()),
        ("\n \n", ()),
        ("one", ("one\n",)),
        ("one\n\ntwo", ("one\n\n", "two\n")),
        ("# a\nb\n- c\n- d\n\n  e\n\nf", ("# a\n", "b\n", "- c\n- d\n\n  e\n\n", "f\n")),
        ("a\n```\nb\n\nc\n```\nd", ("a\n", "```\nb\n\nc\n```\n", "d\n")),
        ("```\nnever\n\nclosed", ("```\nnever\n\nclosed\n",)),
        ("a\n---\nb\n\n---\nc", ("a\n---\n", "b\n\n", "---\n", "c\n")),
        ("a\n|b|\n|-|\n|c|\n\nd", ("a\n", "|b|\n|-|\n|c|\n\n", "d\n")),
    ],
)
def test_blocks(text, blocks):
    growing = GrowingMarkdown()
    growing.add(text)

    assert growing.end() == blocks
    assert growing.end() == ()


def test_a_block_is_settled_once_a_whole_line_begins_the_next():
    growing = GrowingMarkdown()
    seen = []
    for piece in ("one\n", "\n", "#", " two", "\n", "three"):
        growing.add(piece)
        seen.append(growing.settle())

    assert seen == [(), (), (), (), ("one\n\n",), ()]
    assert growing.open == "# two\nthree"


def test_half_a_line_settles_nothing():
    growing = GrowingMarkdown()
    growing.add("one\n#")
    assert growing.settle() == ()
    growing.add("1 is no heading\n")

    assert growing.settle() == ()
    assert growing.end() == ("one\n#1 is no heading\n\n",)


@given(TEXTS, st.data())
def test_however_it_comes(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    growing, whole = GrowingMarkdown(), GrowingMarkdown()
    whole.add(text)
    blocks = ()
    for start, end in zip((0, *cuts), (*cuts, len(text)), strict=True):
        growing.add(text[start:end])
        blocks += growing.settle()
    blocks += growing.end()

    assert blocks == whole.end()
    assert (text + "\n").startswith("".join(blocks))
    assert not (text + "\n").removeprefix("".join(blocks)).strip()
