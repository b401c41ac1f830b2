"""An endpoint's answer becomes deltas, however it arrives."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.messages import Usage
from gaia_core.models import Finished, ModelError, ToolCallDelta
from gaia_core.models.endpoint._response_reader import ResponseReader


async def test_an_answer_is_told(endpoint, ask, wire):
    model, _ = await endpoint(
        wire.chunk("", role="assistant")
        + wire.chunk(reasoning_content="Hm.")
        + wire.chunk("Hel")
        + wire.chunk("lo")
        + wire.chunk(finish="stop")
        + wire.usage(5, 2)
        + wire.DONE
    )
    told = await ask(model)
    expected = [ReasoningDelta("Hm."), TextDelta("Hello"), Finished("stop", Usage(5, 2))]
    assert told.deltas == expected


async def test_what_arrives_together_is_told_together_and_its_text_in_one_piece(endpoint, ask, wire):
    thoughts = b"".join(wire.chunk(reasoning_content=text) for text in ("Hm", "m."))
    model, _ = await endpoint(thoughts + wire.chunk("", role="assistant") + wire.answer("a", "b", "c"))
    told = await ask(model)
    assert told.batches[0] == (ReasoningDelta("Hmm."), TextDelta("abc"))


async def test_text_and_calls_that_arrive_together_keep_their_order(endpoint, ask, wire):
    call = wire.chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}])
    model, _ = await endpoint(wire.chunk("a") + wire.chunk("b") + call + wire.chunk("c") + wire.answer("d"))
    told = await ask(model)
    assert told.batches[0] == (TextDelta("ab"), ToolCallDelta(0, "c", "f", "{}"), TextDelta("cd"))


async def test_tool_calls_come_in_pieces(endpoint, ask, wire):
    def piece(index: int, **function: str) -> bytes:
        return wire.chunk(tool_calls=[{"index": index, "id": f"c{index}", "function": function}])

    model, _ = await endpoint(
        piece(0, name="read", arguments="")
        + piece(0, arguments='{"a"')
        + piece(0, arguments=":1}")
        + piece(1, name="list", arguments="{}")
        + wire.chunk(finish="stop")
        + wire.DONE
    )
    told = await ask(model)
    assert told.of(ToolCallDelta) == [
        ToolCallDelta(0, "c0", "read"),
        ToolCallDelta(0, "c0", "", '{"a"'),
        ToolCallDelta(0, "c0", "", ":1}"),
        ToolCallDelta(1, "c1", "list", "{}"),
    ]
    assert told.finished.reason == "tool_calls"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_an_answer_may_be_split_anywhere(endpoint, ask, wire, end, size):
    whole = b"\xef\xbb\xbf: hello\n\n" + wire.answer("Grüße ", "😀").replace(b"data: ", b"id: 1\ndata:", 1)
    whole = whole.replace(b"\n", end)
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    model, _ = await endpoint(wire.says(*pieces))
    told = await ask(model)
    assert told.text == "Grüße 😀"
    assert told.finished == Finished("stop")


@given(st.data())
def test_a_split_changes_nothing_but_the_batches(data):
    stream = (
        b'data: {"choices": [{"delta": {"content": "\xc3\xa4\\ud83d\\ude00"}}]}\r\n\r\n: ping\r\n\r\n'
        b'data: {"choices": [{"delta":\ndata: {"content": "b"}}]}\n\n'
        b'data: {"choices": [{"delta": {}, "finish_reason": "length"}]}\r\rdata: [DONE]\n\n'
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader = ResponseReader(None)
    told = [
        delta
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for delta in reader.feed(stream[start:end])
    ]
    assert "".join(delta.text for delta in told) == "ä😀b"
    assert reader.end() == (Finished("length"),)


async def test_comments_and_empty_events_are_passed_over(endpoint, ask, wire):
    model, _ = await endpoint(b": ping\n\n" + b"data:\n\n" + wire.chunk("Hi") + b": ping\n\n" + wire.answer())
    assert (await ask(model)).text == "Hi"


async def test_an_event_may_have_several_lines_of_data(endpoint, ask, wire):
    event = b'data: {"choices": [{"delta":\ndata: {"content": "Hi"}}]}\n\n'
    model, _ = await endpoint(event + wire.answer())
    assert (await ask(model)).text == "Hi"


async def test_an_answer_without_done_is_whole_when_it_said_why_it_ended(endpoint, ask, wire):
    model, _ = await endpoint(wire.chunk("Hi") + wire.chunk(finish="stop") + wire.usage(1, 2))
    assert (await ask(model)).finished == Finished("stop", Usage(1, 2))


async def test_the_last_event_may_lack_its_blank_line(endpoint, ask, wire):
    model, _ = await endpoint(wire.chunk("Hi") + wire.chunk(finish="length").rstrip())
    assert (await ask(model)).finished == Finished("length")


async def test_an_answer_with_done_and_no_reason_has_stopped(endpoint, ask, wire):
    model, _ = await endpoint(wire.chunk("Hi") + wire.DONE)
    assert (await ask(model)).finished == Finished("stop")


async def test_what_comes_after_done_is_not_read(endpoint, ask, wire):
    model, _ = await endpoint(wire.answer("Hi") + wire.chunk("more") + b"data: {bad\n\n")
    told = await ask(model)
    assert told.text == "Hi"


@pytest.mark.parametrize("ending", ["RESET", "HANG"])
async def test_an_answer_that_said_why_it_ended_survives_its_connection(endpoint, ask, wire, ending):
    script = wire.says(wire.chunk("Hi") + wire.chunk(finish="stop"), 0.05, getattr(wire, ending))
    model, there = await endpoint(script, silence_timeout=0.2)
    assert (await ask(model)).finished == Finished("stop")
    assert len(there.asked) == 1


async def test_an_answer_may_come_all_at_once(endpoint, ask, wire):
    message = {
        "role": "assistant",
        "content": "Hi",
        "reasoning_content": "Hm",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    body = wire.event(
        {
            "choices": [{"message": message, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        }
    )[6:]
    half = len(body) // 2
    model, _ = await endpoint(wire.says(body[:half], 0.02, body[half:], media="application/json; charset=utf-8"))
    (batch,) = (await ask(model)).batches
    assert batch == (
        ReasoningDelta("Hm"),
        TextDelta("Hi"),
        ToolCallDelta(None, "c", "f", "{}"),
        Finished("tool_calls", Usage(1, 2)),
    )


async def test_a_whole_answer_may_be_an_error(endpoint, ask, wire):
    model, _ = await endpoint(wire.says(b'{"error": {"message": "no such luck"}}', media="application/json"))
    with pytest.raises(ModelError, match="no such luck"):
        await ask(model)


async def test_a_stream_under_another_media_type_is_read_too(endpoint, ask, wire):
    model, _ = await endpoint(wire.says(wire.answer("Hi"), media="text/plain"))
    assert (await ask(model)).text == "Hi"


async def test_a_megabyte_of_event_is_read(endpoint, ask, wire):
    model, _ = await endpoint(wire.answer("x" * 2**20))
    assert len((await ask(model)).text) == 2**20


async def test_an_event_of_no_end_is_refused(endpoint, ask, wire):
    model, there = await endpoint(wire.says(b"data: ", *[b"x" * 2**20] * 9, wire.HANG))
    with pytest.raises(ModelError, match="8388608 bytes") as caught:
        await ask(model)
    assert caught.value.kind == "broken_stream"
    async with asyncio.timeout(60):
        await there.asked[0].gone.wait()


async def test_a_whole_answer_of_no_end_is_refused(endpoint, ask, wire):
    model, _ = await endpoint(wire.says(*[b"x" * 2**20] * 9, wire.HANG, media="application/json"))
    with pytest.raises(ModelError, match="8388608 bytes"):
        await ask(model)


@pytest.mark.parametrize(
    ("text", "expected"), [(b"\\ud83d", "?"), (b"\xff", "\ufffd"), (b"\\ud83d\\ude00", "😀"), (b"a\\u0000b", "a\0b")]
)
async def test_text_that_can_t_be_written_becomes_marks(endpoint, ask, wire, text, expected):
    model, _ = await endpoint(b'data: {"choices": [{"delta": {"content": "' + text + b'"}}]}\n\n' + wire.answer())
    told = await ask(model)
    assert told.text == expected
    told.text.encode()


@pytest.mark.parametrize(
    ("said", "met"),
    [
        ('"stop_reason": "END"', "END"),  # vLLM
        ('"matched_stop": "END"', "END"),  # SGLang
        ('"stop_reason": null, "matched_stop": 151645', None),  # a token's id
        ('"stop_reason": {"odd": 1}', None),
    ],
)
def test_the_stop_sequence_is_known_where_the_endpoint_says_which(said, met):
    reader = ResponseReader(None)

    reader.feed(f'data: {{"choices": [{{"delta": {{}}, "finish_reason": "stop", {said}}}]}}\n\n'.encode())

    assert reader.end() == (Finished("stop", None, met),)


@pytest.mark.parametrize(
    ("media", "page"),
    [
        ("text/html", b"Please log in."),
        ("text/event-stream", b"\n<!doctype html><title>Welcome</title>"),
        ("application/json", b"<html>Welcome</html>"),
    ],
)
async def test_a_web_page_with_status_200_is_named_as_such(endpoint, fails, wire, media, page):
    model, there = await endpoint(wire.says(page, media=media))
    error, _ = await fails(model)

    assert "web page" in str(error)
    assert len(there.asked) == 1
