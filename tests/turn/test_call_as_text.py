"""Text is held back while it may still become a tool call, and not a character longer."""

from types import SimpleNamespace

import pytest

from gaia_core.events import TextDelta
from gaia_core.models import ModelRequest
from gaia_core.tools import ToolDefinition
from gaia_core.turn import NO_OPTIONS
from gaia_core.turn.step import _call_as_text
from gaia_core.turn.step._call_as_text import CallAsText
from gaia_core.turn.step._model_step import ModelStep


def may_become_call(text: str) -> bool:
    whole, piecewise = CallAsText(), CallAsText()
    found = whole.feed(text)
    assert all(piecewise.feed(character) for character in text) == found
    return found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "{",
        '{"',
        '{"na',
        '{ "name" : "x", "arguments": {}}',
        "```",
        "```json\n{",
        '```\n{"name":',
        "[",
        '[{"name":',
        "<tool",
    ],
)
def test_the_beginning_of_a_call_is_held(text):
    assert may_become_call(text)


@pytest.mark.parametrize(
    "text",
    ["Hello", " The", '{"answer"', "{}", "```python\nprint()", '```json\n{"temperature":', "[1, 2", "<b>", "`x`"],
)
def test_anything_else_is_told_at_once(text):
    assert not may_become_call(text)


class CountingPattern:
    """Counts the characters that it is given."""

    def __init__(self, pattern) -> None:
        self.pattern = pattern
        self.characters = 0

    def match(self, text: str) -> object:
        self.characters += len(text)
        return self.pattern.match(text)


@pytest.mark.parametrize("beginning", ['```json\n{"name": "write", "arguments": {"text": "', "", "<tool_call>"])
@pytest.mark.parametrize("piece", ["word ", " ", "\n"])
def test_a_long_text_that_may_be_a_call_costs_each_piece_once(monkeypatch, beginning, piece):
    """16,000 pieces took 2.7 s of the event loop, because each joined all that was held before it."""
    pattern = CountingPattern(_call_as_text._BEGINNING)
    monkeypatch.setattr(_call_as_text, "_BEGINNING", pattern)
    monkeypatch.setattr(ModelStep, "text", property(lambda _step: pytest.fail("the whole text was joined")))
    tools = (ToolDefinition("write", "", b"{}", b"{}"),)
    context = SimpleNamespace(options=NO_OPTIONS, access=SimpleNamespace(enforces_format=False))
    step = ModelStep(context, ModelRequest((), tools=tools), set())

    for text in (*beginning, *[piece] * 16_000):
        step.take((TextDelta(text),))

    assert pattern.characters < 3_000
