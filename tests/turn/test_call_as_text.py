"""Text is held back while it may still become a tool call, and not a character longer."""

import pytest

from gaia_core.turn import may_become_call


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
