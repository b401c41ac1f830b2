"""What an endpoint sends may be nested up to the limit; beyond it, it is what it is not: a chunk, a list, a call."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gaia_core import ConfigError
from gaia_core.events import TextDelta
from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall
from gaia_core.models import EmbeddingRequest, EndpointConfig, Finished, ModelError, ToolCallDelta, repair
from gaia_core.models._prompted_form import offered
from gaia_core.models._prompted_tools import _Decoder, _Step
from gaia_core.models.endpoint._chunk_wire import decode_chunk, words_of
from gaia_core.models.endpoint._embeddings import embeddings_of
from gaia_core.models.endpoint._model_list import listed_models
from gaia_core.nesting import MAX_NESTING
from gaia_core.tools import tool

TOO_DEEP = (MAX_NESTING + 1, 1_000, 100_000)
WORDS = "nested deeper than 128 levels"


@tool(effects="read")
def keep(value: Any) -> str:
    """Keep a value."""


def deep(levels: int) -> str:
    return '{"a":[' * (levels // 2) + "[]" * (levels % 2) + "]}" * (levels // 2)


def filled(text: str, levels: int) -> str:
    """*text* with nested JSON for DEEP, so that all of it has so many levels."""
    before = text.partition("DEEP")[0]
    around = sum(before.count(opening) - before.count(closing) for opening, closing in ("{}", "[]"))
    return text.replace("DEEP", deep(levels - around))


@pytest.mark.parametrize(
    ("decode", "text"),
    [
        (lambda data: decode_chunk(data, None).choices, '{"choices": [{"delta": {"content": "Hi"}, "x": DEEP}]}'),
        (lambda data: decode_chunk(data, None).choices, '{"choices": [{"delta": {"content": "\\ud800"}}], "x": DEEP}'),
        (
            lambda data: decode_chunk(data, None).choices[0].delta.tool_calls,
            '{"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": DEEP}}}]}}]}',
        ),
        (
            lambda data: embeddings_of(data, EmbeddingRequest(b'["a"]', 1)).vectors,
            '{"data": [{"embedding": [0.5], "index": 0}], "x": DEEP}',
        ),
    ],
)
def test_an_answer_that_is_nested_too_deep_is_a_broken_stream(decode: Callable, text):
    assert decode(filled(text, MAX_NESTING).encode())

    for levels in TOO_DEEP:
        with pytest.raises(ModelError, match=WORDS) as raised:
            decode(filled(text, levels).encode())
        assert raised.value.kind == "broken_stream"
        assert len(str(raised.value)) < 500


@pytest.mark.parametrize("levels", TOO_DEEP)
async def test_a_stream_with_such_a_chunk_ends_in_words(endpoint, ask, wire, levels):
    chunk = filled('{"choices": [{"delta": {"content": "Hi"}, "x": DEEP}]}', levels).encode()
    model, _ = await endpoint(wire.says(b"data: %b\n\n" % chunk, b"data: [DONE]\n\n"))

    with pytest.raises(ModelError, match=WORDS):
        await ask(model)


@pytest.mark.parametrize("levels", TOO_DEEP)
async def test_a_list_of_models_that_is_nested_too_deep_is_none(endpoint, wire, levels):
    text = '{"data": [{"id": "a", "capabilities": DEEP}]}'
    model, there = await endpoint()
    there.listed = wire.says(filled(text, levels).encode())

    (listed,) = listed_models(filled(text, MAX_NESTING).encode())
    assert listed.id == "a"
    with pytest.raises(ModelError, match="answered something else than models"):
        await model.models()


@pytest.mark.parametrize("levels", TOO_DEEP)
def test_the_words_of_an_error_are_found_within_the_limit_and_shown_as_they_are_beyond(levels):
    text = '{"error": {"message": "no room"}, "x": DEEP}'

    assert words_of(filled(text, MAX_NESTING).encode(), None) == "no room"
    assert words_of(filled(text, levels).encode(), None).startswith('{"error": {"message": "no room"}, "x": {"a":[{')


def test_the_text_of_a_prompted_model_is_a_call_within_the_limit_and_text_beyond():
    text = '{"name": "keep", "arguments": {"value": DEEP}}'
    for levels, kind in ((MAX_NESTING, ToolCallDelta), (MAX_NESTING + 1, TextDelta), (100_000, TextDelta)):
        sent = filled(text, levels)

        told, _ = _Decoder(_Step((), offered((keep.definition,), ()), may_answer=True)).feed(
            (TextDelta(sent), Finished("stop"))
        )

        assert type(told) is kind
        assert (told.arguments in sent) if kind is ToolCallDelta else (told.text == sent)


def repaired(arguments: str = "", text: str = "") -> list[tuple[str, str]]:
    calls = (ToolCall("1", FunctionCall("keep", arguments)),) if arguments else ()
    message, _ = repair(AssistantMessage(text or None, calls), "stop", (keep.definition,))
    return [(call.name, call.arguments) for call in message.tool_calls]


@pytest.mark.parametrize("levels", TOO_DEEP)
def test_arguments_are_mended_within_the_limit_only(levels):
    twice, broken = (filled('{"value": DEEP}', MAX_NESTING) for _ in range(2))
    assert repaired(json.dumps(twice)) == [("keep", twice)]
    assert json.loads(repaired(f"{broken[:-1]},}}")[0][1]) == json.loads(broken)

    sent = filled('{"value": DEEP}', levels)
    for given in (sent, json.dumps(sent), f"{sent[:-1]},}}"):
        assert repaired(given) == [("keep", given)]


@pytest.mark.parametrize("levels", TOO_DEEP)
def test_a_call_as_text_is_one_within_the_limit_only(levels):
    text = '{"name": "keep", "arguments": {"value": DEEP}}'

    assert [name for name, _ in repaired(text=filled(text, MAX_NESTING))] == ["keep"]
    assert repaired(text=filled(text, levels)) == []


def test_further_members_of_a_request_are_bounded_as_well():
    assert EndpointConfig(url="http://127.0.0.1/v1", extra=filled('{"x": DEEP}', MAX_NESTING))
    with pytest.raises(ConfigError, match=f"extra must be a JSON object of members of the request body: {WORDS}"):
        EndpointConfig(url="http://127.0.0.1/v1", extra=filled('{"x": DEEP}', MAX_NESTING + 1))
