"""What endpoints answer: read as far as it is used, whatever they leave out or add."""

import email.utils
import json
import time

import pytest

from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.messages import Usage
from gaia_core.models import ModelError, ToolCallDelta
from gaia_core.models.endpoint._chunk_wire import (
    decode_chunk,
    deltas_of,
    error_of,
    finish_of,
    retry_after_of,
    stream_error,
    usage_of,
    words_of,
)


def deltas(**delta: object) -> list:
    (choice,) = decode_chunk(json.dumps({"choices": [{"delta": delta}]}).encode(), None).choices
    told: list = []
    deltas_of(choice.delta, told)
    return told


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"role": "assistant", "content": ""}, []),
        ({"content": None}, []),
        ({"content": "Hi", "unknown": {"a": [1]}}, [TextDelta("Hi")]),
        ({"content": [{"type": "text", "text": "Hi"}, {"type": "image"}]}, [TextDelta("Hi")]),
        ({"refusal": "No."}, [TextDelta("No.")]),
        ({"reasoning_content": "Hm"}, [ReasoningDelta("Hm")]),
        ({"reasoning": "Hm"}, [ReasoningDelta("Hm")]),
        ({"content": "So", "reasoning_content": "Hm"}, [ReasoningDelta("Hm"), TextDelta("So")]),
        ({"tool_calls": None}, []),
        ({"tool_calls": [{"index": 1, "function": {"arguments": '{"a'}}]}, [ToolCallDelta(1, "", "", '{"a')]),
        ({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}, [ToolCallDelta(0, "c", "f")]),
        ({"tool_calls": [{"index": 0, "function": None}]}, [ToolCallDelta(0)]),
        (
            {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}, {"function": {"name": "g"}}]},
            [ToolCallDelta(None, "", "f", '{"a": 1}'), ToolCallDelta(None, "", "g")],
        ),
        (
            {"tool_calls": [{"index": "1", "id": 7, "function": {"name": "f", "arguments": None}}]},
            [ToolCallDelta(1, "7", "f")],
        ),
        (
            {"tool_calls": [{"index": 2.0, "id": "c", "function": {"name": "f", "arguments": ["a"]}}]},
            [ToolCallDelta(2, "c", "f", '["a"]')],
        ),
    ],
)
def test_a_chunk_becomes_deltas(delta, expected):
    assert deltas(**delta) == expected


@pytest.mark.parametrize(
    "data",
    [b"{}", b'{"choices": null}', b'{"choices": [{}]}', b'{"choices": [{"delta": null, "finish_reason": null}]}'],
)
def test_a_chunk_may_say_nothing(data):
    chunk = decode_chunk(data, None)
    assert all(choice.delta is None for choice in chunk.choices or ())


def test_half_a_surrogate_pair_and_bytes_that_are_no_utf_8_become_marks():
    (choice,) = decode_chunk(b'{"choices": [{"delta": {"content": "a\\ud83db"}}]}', None).choices
    assert choice.delta.content == "a?b"
    (choice,) = decode_chunk(b'{"choices": [{"delta": {"content": "a\xffb"}}]}', None).choices
    assert choice.delta.content == "a\ufffdb"


@pytest.mark.parametrize(
    "data", [b"", b"{bad", b"[1]", b'"text"', b'{"choices": 7}', b"[" * 100_000, b"\x00\x1b[31m", b"9" * 5000]
)
def test_what_is_no_chunk_is_a_broken_stream(data):
    with pytest.raises(ModelError) as caught:
        decode_chunk(data, None)
    assert caught.value.kind == "broken_stream"
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_what_is_no_chunk_is_shown_without_the_key():
    with pytest.raises(ModelError, match="no chunk") as caught:
        decode_chunk(b"not for sk-very/secret, that is sk-very\\/secret", "sk-very/secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, None),
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Usage(3, 4)),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
            Usage(3, 4, 2, 1),
        ),
        ({"prompt_tokens": None, "prompt_tokens_details": None, "completion_tokens_details": {}}, None),
        ({"prompt_tokens": 10.0, "completion_tokens": "10"}, Usage(10, 10)),
        ({"prompt_tokens": "many", "completion_tokens": 3, "prompt_tokens_details": 7}, Usage(0, 3)),
        ({"prompt_tokens": -1, "completion_tokens": 1e300}, None),
        ("none", None),
        ([1], None),
    ],
)
def test_usage_is_taken_over(usage, expected):
    assert usage_of(decode_chunk(json.dumps({"usage": usage}).encode(), None).usage) == expected


@pytest.mark.parametrize(
    ("reason", "called", "expected"),
    [
        ("stop", False, "stop"),
        ("length", False, "length"),
        ("max_tokens", True, "length"),
        ("content_filter", True, "content_filter"),
        ("tool_calls", False, "tool_calls"),
        ("function_call", False, "tool_calls"),
        ("stop", True, "tool_calls"),
        ("eos", False, "stop"),
    ],
)
def test_finish_reasons_are_those_of_the_api(reason, called, expected):
    assert finish_of(reason, called=called) == expected


@pytest.mark.parametrize(
    ("status", "words", "kind", "retryable"),
    [
        (400, "no such option", "bad_request", False),
        (400, "This model's maximum context length is 4096 tokens", "context_length", False),
        (500, "the request exceeds the available context size", "context_length", False),
        (401, "no", "auth", False),
        (403, "no", "auth", False),
        (404, "no such model", "not_found", False),
        (408, "too slow", "bad_request", True),
        (429, "slow down", "rate_limited", True),
        (500, "oops", "server", True),
        (501, "oops", "server", False),
        (503, "loading", "not_ready", True),
        (529, "overloaded", "overloaded", True),
    ],
)
def test_an_error_has_a_kind_and_says_whether_to_come_back(status, words, kind, retryable):
    error = error_of(status, json.dumps({"error": {"message": words}}).encode(), {}, None)
    assert (error.kind, error.retryable, error.status) == (kind, retryable, status)
    assert words in str(error)
    assert str(status) in str(error)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": {"message": "no"}}', "no"),
        (b'{"error": "no"}', "no"),
        (b'{"message": "no"}', "no"),
        (b'{"detail": "no"}', "no"),
        (b'"no"', "no"),
        (b"no", "no"),
        (b"<html>\r\n\t no \x1b[31m</html>", "<html>  no  [31m</html>"),
        (b'{"error": {"message": null}}', '{"error": {"message": null}}'),
        (b'{"error": {"message": "a\\ud800b"}}', "a?b"),
        (b"\xff", "\ufffd"),
        (b"", ""),
        (b"x" * 1000, "x" * 500 + "…"),
    ],
)
def test_an_error_has_the_endpoints_own_words(body, expected):
    assert words_of(body, None) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "bad key sk/\\u0061\\"x"}}',
        b'{"error": {"reason": "bad key sk\\/a\\"x"}}',
        b'bad key sk/a"x',
        b'[{"key": "sk/\\u0061\\"x"}]',
        b'truncated {"key": "sk\\/a\\"x',
    ],
)
def test_a_key_that_is_echoed_does_not_come_through(body):
    words = words_of(body, 'sk/a"x')
    assert "***" in words
    assert "sk" not in words


def test_an_error_in_the_stream_has_a_kind_too():
    assert stream_error({"message": "oops"}, None).kind == "server"
    assert stream_error({"message": "prompt is too long"}, None).kind == "context_length"
    assert "oops sk" not in str(stream_error("oops sk", "sk"))
    assert "oops" in str(stream_error("oops sk", "sk"))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after-ms": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "٧"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2300"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_when_to_come_back_is_read(headers, expected):
    assert retry_after_of(headers) == expected


@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000"])
def test_a_date_says_when_to_come_back(zone):
    date = email.utils.formatdate(time.time() + 100, usegmt=True).replace("GMT", zone)
    assert 90 < retry_after_of({"retry-after": date}) <= 100
