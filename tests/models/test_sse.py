"""Server-sent events: whatever the line ends and wherever the bytes are split, the same data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core.events import TextDelta
from gaia_core.models.endpoint._response_reader import ResponseReader
from gaia_core.models.endpoint._sse_decoder import MAX_EVENT_BYTES, EventTooLargeError, SSEDecoder


def events(*pieces: bytes) -> list[bytes]:
    decoder = SSEDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.end()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\n\r\ndata: b\r\n\n", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b": a comment\n\ndata: a\n\n: another\n\n", [b"a"]),
        (b": a comment\ndata: a\n\n", [b"a"]),
        (b"event: message\nid: 7\nretry: 10\ndata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data\n\n", [b""]),
        (b"data: a\ndata\n\n", [b"a\n"]),
        (b"database: a\n\n", []),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"data: a\r", [b"a"]),
        (b"", []),
        (b"\xef\xbb", []),
    ],
)
def test_the_data_of_events_is_read(stream, expected):
    assert events(stream) == expected


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_line_end_may_be_cut_in_two(end):
    stream = end.join([b"data: a", b"data: b", b"", b"data: c", b"", b""])
    for cut in range(len(stream)):
        assert events(stream[:cut], stream[cut:]) == [b"a\nb", b"c"]


lines = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data",
        b"data: ",
        b": ping",
        b"event: x",
        b"",
        b"",
        b"",
        "data: ü😀".encode(),
        b"\xff",
        b"x",
    ]
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(lines, ends)), st.booleans(), st.data())
def test_any_split_gives_the_same_events(written, bom, data):
    stream = b"\xef\xbb\xbf" * bom + b"".join(line + end for line, end in written)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert events(*pieces) == events(stream)


def test_byte_by_byte_is_no_different():
    stream = "\ufeffdata: a\r\n\r\n: ping\r\n\r\ndata: ü\r\rdata: c\n\n".encode()
    assert events(*(stream[index : index + 1] for index in range(len(stream)))) == [b"a", "ü".encode(), b"c"]


def test_an_event_is_told_as_soon_as_it_is_complete():
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\ndata: b") == [b"a"]
    assert decoder.feed(b"\n\n") == [b"b"]


def test_an_event_without_end_is_refused():
    decoder = SSEDecoder()
    decoder.feed(b"data: ")
    with pytest.raises(EventTooLargeError, match="8388608 bytes"):
        any(decoder.feed(b"x" * 2**20) for _ in range(9))


def test_a_large_event_that_ends_is_read():
    assert events(b"data: ", b"x" * 2**20, b"y" * 2**20, b"\n\n")[0][:: 2**20] == b"xy"
    assert MAX_EVENT_BYTES > 2**21


class CountingDecoder(SSEDecoder):
    """Counts the bytes that it joins."""

    joined = 0

    def _taken(self) -> bytes:
        taken = super()._taken()
        self.joined += len(taken)
        return taken


def test_a_large_event_in_many_pieces_is_joined_once():
    """Each piece was joined with all that had come before it: 8 MB in reads of 1 KB copied 32 GB."""
    reader = ResponseReader(None)
    decoder = reader._events = CountingDecoder()
    event = b'data: {"choices": [{"delta": {"content": "' + b"x" * 500_000 + b'"}, "finish_reason": "stop"}]}\n\n'

    told = [delta for at in range(0, len(event), 500) for delta in reader.feed(event[at : at + 500])]

    assert told == [TextDelta("x" * 500_000)]
    assert decoder.joined <= len(event)
