"""The chunk fast path reads what the decoder reads, however the chunks look and arrive."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.models import ModelError, ToolCallDelta
from gaia_core.models.endpoint._chunk_fast_path import ChunkFastPath
from gaia_core.models.endpoint._chunk_wire import decode_chunk, deltas_of, piece_of
from gaia_core.models.endpoint._response_reader import ResponseReader
from gaia_core.models.endpoint._sse_decoder import SSEDecoder


def chunk(text: str, key: str = "content", **more: object) -> bytes:
    return json.dumps(
        {"id": "c", "choices": [{"index": 0, "delta": {key: text}, "finish_reason": None}], **more}
    ).encode()


def stream_of(*events: bytes, end: bytes = b"\n\n") -> bytes:
    return b"".join(b"data: " + event + end for event in events)


def told(deltas) -> list[tuple[type, str]]:
    """Kinds and texts, what is adjacent in one piece; the end of anything else is not looked at here."""
    runs: list[tuple[type, str]] = []
    for delta in deltas:
        if runs and runs[-1][0] is type(delta):
            runs[-1] = (type(delta), runs[-1][1] + delta.text)
        else:
            runs.append((type(delta), delta.text))
    return runs


def as_decoded(stream: bytes) -> list[tuple[type, str]] | str:
    """What the decoder makes of each event by itself; the kind of its error."""
    deltas: list = []
    try:
        for event in SSEDecoder().feed(stream):
            found = decode_chunk(event, None)
            for choice in found.choices or ():
                if choice.delta is not None:
                    deltas_of(choice.delta, deltas)
    except ModelError as error:
        return error.kind
    return told(deltas)


def as_read(pieces: list[bytes]) -> list[tuple[type, str]] | str:
    reader = ResponseReader(None)
    try:
        return told([delta for piece in pieces for delta in reader.feed(piece)])
    except ModelError as error:
        return error.kind


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=4) | st.sampled_from(
    ['"', "\\", "\n\n", "data: ", ""]
)
chunks = st.one_of(
    st.builds(chunk, texts),
    st.builds(chunk, texts),
    st.builds(chunk, texts, st.sampled_from(["content", "reasoning_content", "reasoning", "refusal"])),
    st.builds(chunk, texts, created=st.integers(1, 2)),
    st.sampled_from(
        [
            chunk("x").replace(b'"x"', b'"x","content":"y"'),
            chunk("x").replace(b'"x"', b'\n"x"\n'),
            chunk("x").replace(b'"x"', b'"x" '),
            chunk("x").replace(b'"x"', b'"\\ud83d"'),
            chunk("x").replace(b'"x"', b"null"),
            chunk("x").replace(b'"x"', b'"\xff"'),
        ]
    ),
)
damaged = st.sampled_from([chunk("x").replace(b'"x"', b'"x","y"'), chunk("x").replace(b'"x"', b""), b"{", b": ping"])
ends = st.sampled_from([b"\n\n", b"\n\n", b"\n\n", b"\r\n\r\n", b"\n: ping\n\n"])


@given(st.lists(st.tuples(chunks | damaged, ends), max_size=12), st.data())
@example([(chunk("a"), b"\n\n")] * 24, None)
def test_what_is_read_is_what_the_decoder_reads(written, data):
    # White space at the beginning is held back until it is known whether a thought follows (`ThinkTags`).
    begun = [(chunk("x"), b"\n\n"), *written]
    stream = b"".join(b"data: " + event + end for event, end in begun)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8))) if data is not None else []
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert as_read(pieces) == as_decoded(stream)


def learned(event: bytes) -> ChunkFastPath:
    fast_path = ChunkFastPath(lambda data: piece_of(decode_chunk(data, None)))
    fast_path.missed(event)
    fast_path.missed(event)
    return fast_path


@pytest.mark.parametrize(("key", "kind"), [("content", TextDelta), ("reasoning_content", ReasoningDelta)])
def test_chunks_that_differ_in_their_text_are_read_at_once(key, kind):
    fast_path = learned(chunk("a", key))
    burst = stream_of(chunk("b", key), chunk('"ü\n', key), chunk("", key))
    assert fast_path.read(burst) == (kind('b"ü\n'), b"")


@pytest.mark.parametrize("key", ["content", "reasoning_content"])
def test_a_chunk_without_text_tells_nothing(key):
    reader = ResponseReader(None)
    assert len(reader.feed(stream_of(chunk("a", key), chunk("b", key)))) == 1
    assert reader.feed(stream_of(chunk("", key))) == ()
    assert reader.feed(stream_of(chunk("", key), chunk("", key))) == ()


def test_what_follows_the_last_of_them_is_left():
    rest = stream_of(b"[DONE]")
    assert learned(chunk("a")).read(stream_of(chunk("b")) + rest) == (TextDelta("b"), rest)


@pytest.mark.parametrize(
    "other",
    [
        chunk("b", finish="x"),
        chunk("b", "reasoning"),
        chunk("b").replace(b'"b"', b'"b","c"'),
        chunk("b").replace(b'"b"', b"null"),
        chunk("b").replace(b'"b"', b'"b"\n'),
        b"[DONE]",
    ],
)
def test_other_chunks_are_left_to_the_decoder(other):
    assert learned(chunk("a")).read(stream_of(other)) is None
    assert learned(chunk("a")).read(stream_of(chunk("b"), other, chunk("b"))) is None


def test_nothing_is_learned_from_one_chunk():
    fast_path = ChunkFastPath(lambda data: piece_of(decode_chunk(data, None)))
    fast_path.missed(chunk("a"))
    assert fast_path.read(stream_of(chunk("b"))) is None


def test_a_text_that_quotes_a_chunk_teaches_nothing_wrong():
    quoting = chunk('{"content":"x"}')
    assert learned(quoting).read(stream_of(chunk("b"))) == (TextDelta("b"), b"")


def test_another_form_is_learned_when_the_first_is_over():
    fast_path = learned(chunk("a", created=1))
    for _ in range(2):
        fast_path.missed(chunk("a", created=2))
    fast_path.missed(chunk("a", created=2))
    fast_path.missed(chunk("a", created=2))
    assert fast_path.read(stream_of(chunk("b", created=2))) == (TextDelta("b"), b"")


def test_a_call_between_texts_that_the_fast_path_reads_keeps_its_place():
    """A call's pieces are decoded each; the texts before and behind them are read in bursts."""
    reader = ResponseReader(None)
    text = b'data: {"choices":[{"index":0,"delta":{"content":"w "}}]}\n\n'
    call = b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,%b}]}}]}\n\n'
    begun = call % b'"id":"c","function":{"name":"save","arguments":""}'
    pieces = [call % (b'"function":{"arguments":%b}' % piece) for piece in (b'"{\\"a\\": "', b'"1}"')]
    stream = text * 40 + begun + pieces[0] + text * 20 + pieces[1] + text

    deltas = [delta for at in range(0, len(stream), 700) for delta in reader.feed(stream[at : at + 700])]

    said = [delta.text if isinstance(delta, TextDelta) else delta.arguments for delta in deltas]
    assert "".join(said) == "w " * 40 + '{"a": ' + "w " * 20 + "1}" + "w "
    assert [delta.name for delta in deltas if isinstance(delta, ToolCallDelta)] == ["save", "", ""]
