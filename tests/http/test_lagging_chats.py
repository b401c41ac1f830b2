"""A chat stream after a `Reset`: what the record has once more is sent once, and another text ends it by an error."""

import json

from gaia_core import Agent
from gaia_core.events import Reset, StepEnded, StepStarted, TextDelta, ToolCalled, ToolEnded, ToolStarted, TurnEnded
from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall, Usage
from gaia_http.openai.chat._chunks import ChunkTranslator

FIRST = AssistantMessage("I look it up.", (ToolCall("c1", FunctionCall("look", "{}")),))
CALLED = (ToolCalled("c1", "look", "{}"), ToolStarted("c1"), ToolEnded("c1", "look", "ok", "seen", 0.1))
LAST = AssistantMessage("It is there.")
USAGE = Usage(1, 1)
ENDED = TurnEnded("completed", "It is there.", "stop", USAGE, 2)


def stream() -> ChunkTranslator:
    return ChunkTranslator("turn_1", Agent("a"), 0)


def text_of(data: bytes) -> tuple[str, list[str], list[dict]]:
    """The text of chunks, the types of the events that they carry, and their errors."""
    lines = [line.removeprefix("data: ") for line in data.decode().split("\n") if line.startswith("data: {")]
    chunks = [json.loads(line) for line in lines]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices"))
    told = [chunk["x_gaia"]["type"] for chunk in chunks if "x_gaia" in chunk]
    return text, told, [chunk["error"] for chunk in chunks if "error" in chunk]


def record(*messages: AssistantMessage) -> list:
    """What the record tells of the steps that have ended."""
    events: list = []
    for step, message in enumerate(messages, 1):
        events.append(StepEnded(step, message, "tool_calls" if message.tool_calls else "stop", USAGE))
        if message.tool_calls:
            events += CALLED
    return events


def test_a_step_that_a_reader_missed_is_sent_whole_and_nothing_twice():
    translator = stream()
    data = translator.take([StepStarted(1), TextDelta("I look ")])
    data += translator.take([Reset(0), *record(FIRST, LAST), ENDED])

    text, told, errors = text_of(data)
    assert text == "I look it up.\n\nIt is there."
    assert told == ["ToolCalled", "ToolStarted", "ToolEnded"]
    assert errors == []
    assert data.endswith(b"data: [DONE]\n\n")


def test_events_that_were_sent_are_not_sent_again():
    translator = stream()
    data = translator.take([StepStarted(1), TextDelta("I look it up."), *record(FIRST), StepStarted(2)])
    data += translator.take([TextDelta("It is "), Reset(0), *record(FIRST), TextDelta("It is "), TextDelta("there.")])
    data += translator.take([StepEnded(2, LAST, "stop", USAGE), ENDED])

    text, told, _ = text_of(data)
    assert text == "I look it up.\n\nIt is there."
    assert told == ["ToolCalled", "ToolStarted", "ToolEnded"]


def test_another_text_of_the_step_that_was_begun_ends_the_stream_by_an_error():
    for again in ([TextDelta("Something else.")], [StepEnded(1, LAST, "stop", USAGE), ENDED]):
        translator = stream()
        data = translator.take([StepStarted(1), TextDelta("I look ")])
        data += translator.take([Reset(0), StepStarted(1), *again])

        text, _, errors = text_of(data)
        assert text == "I look "
        assert [error["code"] for error in errors] == ["step_interrupted"]
        assert translator.done
        assert data.endswith(b"data: [DONE]\n\n")


def test_a_turn_that_is_read_from_the_record_alone_is_sent_whole():
    text, told, errors = text_of(stream().take([*record(FIRST, LAST), ENDED]))

    assert (text, errors) == ("I look it up.\n\nIt is there.", [])
    assert len(told) == 3
