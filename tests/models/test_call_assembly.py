"""Pieces of streamed tool calls become whole calls, each of its own pieces only, or calls that are refused."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core.messages import AssistantMessage, is_json_object
from gaia_core.models import ToolCallDelta, problem_of, repair
from gaia_core.models._call_assembly import CallAssembly
from gaia_core.models.endpoint._response_reader import ResponseReader
from gaia_core.tools import tool


@tool(effects="read")
def f() -> None:
    """F."""


@tool(effects="read")
def g() -> None:
    """G."""


A, B = '{"path": "junk.txt"}', '{"path": "keep.txt"}'


def assembled(*pieces: tuple) -> list[tuple[str, str, str]]:
    assembly = CallAssembly()
    for piece in pieces:
        assembly.add(ToolCallDelta(*piece))
    return [(call.id, call.name, call.arguments) for call in assembly.calls()]


def runs(*pieces: tuple) -> list[tuple[str, dict]]:
    """What would be run."""
    return [
        (name, json.loads(arguments or "{}"))
        for _, name, arguments in assembled(*pieces)
        if is_json_object(arguments or "{}") and not problem_of(arguments)
    ]


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        # OpenAI: an index for each call, the id and the name once.
        ([(0, "a", "f"), (0, "", "", A), (1, "b", "g"), (1, "", "", B)], [("a", "f", A), ("b", "g", B)]),
        # Interleaved by index.
        (
            [(0, "a", "f", A[:5]), (1, "b", "g", B[:7]), (0, "", "", A[5:]), (1, "", "", B[7:])],
            [("a", "f", A), ("b", "g", B)],
        ),
        # Ollama: each whole, all of index 0, ids of their own.
        ([(0, "a", "f", A), (0, "b", "g", B)], [("a", "f", A), ("b", "g", B)]),
        ([(0, "a", "f", A), (0, "b", "f", A)], [("a", "f", A), ("b", "f", A)]),
        # Older: no ids either; a name after complete arguments begins a new call.
        ([(0, "", "f", A), (0, "", "g", B)], [("", "f", A), ("", "g", B)]),
        ([(None, "", "f", A), (None, "", "f", B)], [("", "f", A), ("", "f", B)]),
        ([(0, "", "f"), (0, "", "", A), (0, "", "f"), (0, "", "", B)], [("", "f", A), ("", "f", B)]),
        # Two of index 0 with ids, in pieces.
        ([(0, "a", "f", A[:5]), (0, "", "", A[5:]), (0, "b", "g"), (0, "", "", B)], [("a", "f", A), ("b", "g", B)]),
        # The id with every piece; the name with every piece.
        ([(0, "a", "f", A[:5]), (0, "a", "f", A[5:])], [("a", "f", A)]),
        ([(0, "", "f", A[:5]), (0, "", "f", A[5:])], [("", "f", A)]),
        # The id comes late.
        ([(0, "", "f"), (0, "a", "", A)], [("a", "f", A)]),
        # The whole call once more in the last chunk.
        ([(0, "a", "f", A[:5]), (0, "", "", A[5:]), (0, "a", "f", A)], [("a", "f", A)]),
        ([(0, "", "f", A[:5]), (0, "", "", A[5:]), (0, "", "f", A)], [("", "f", A)]),
        ([(0, "", "f", A), (0, "", "f", A[:5]), (0, "", "", A[5:])], [("", "f", A)]),
        ([(0, "", "f", A), (0, "", "f")], [("", "f", A)]),
        # A repetition that turns out to be another call.
        ([(0, "", "f", A), (0, "", "f", B[:10]), (0, "", "", B[10:])], [("", "f", A), ("", "f", B)]),
        # No arguments at all.
        ([(0, "a", "f"), (1, "b", "g")], [("a", "f", ""), ("b", "g", "")]),
    ],
)
def test_the_ways_in_which_servers_tell_calls_apart(pieces, calls):
    assert assembled(*pieces) == calls


def test_two_calls_of_index_0_are_two_calls_and_none_of_them_is_of_both():
    assert runs((0, "a", "delete_file", A), (0, "b", "read_file", B)) == [
        ("delete_file", {"path": "junk.txt"}),
        ("read_file", {"path": "keep.txt"}),
    ]


@pytest.mark.parametrize(
    "pieces",
    [
        # A piece without id or index while two calls are open: whose is it?
        [(None, "a", "f", '{"x":1'), (None, "b", "g", '{"y":"c'), (None, "", "", "}"), (None, "", "", 'd"}')],
        [(0, "a", "f", '{"x":1'), (0, "b", "g", '{"y":"c'), (0, "", "", "}"), (0, "", "", 'd"}')],
        # Two calls of one name, without ids, mixed.
        [(0, "", "f", '{"x":"a'), (0, "", "f", "{}"), (0, "", "", 'b"}')],
        [(None, "", "f", '{"x":"a'), (None, "", "g", "{}"), (None, "", "", 'b"}')],
        # Something follows whole arguments.
        [(0, "a", "f", A), (0, "a", "", B)],
        [(0, "a", "f", A), (0, "", "", B)],
    ],
)
def test_mixed_pieces_are_never_run(pieces):
    meant = [{"x": 1}, {"y": "cd"}, {"x": "ab"}, {}]

    assert all(arguments in meant for _, arguments in runs(*pieces))
    assert len(runs(*pieces)) < 2


def test_a_call_whose_name_comes_again_with_half_of_its_arguments_is_not_run():
    # A repetition that was cut off, or a second call: nobody can tell.
    assert runs((0, "", "f", A), (0, "", "f", A[:5])) == []


names = st.sampled_from(("f", "g"))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab{}[]",:\\ ', max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2),
    max_leaves=5,
)
objects = st.dictionaries(st.sampled_from("xyz"), values, max_size=3)


@st.composite
def streams(draw) -> tuple[list[tuple[str, str]], list[ToolCallDelta]]:
    """What was meant, as (name, arguments); and its pieces, as a server might send them, perhaps cut off."""
    meant = draw(st.lists(st.tuples(names, objects.map(json.dumps)), min_size=1, max_size=3))
    ids = draw(st.sampled_from(("none", "first", "always")))
    indices = draw(st.sampled_from(("none", "zero", "right")))
    queues = []
    for number, (name, arguments) in enumerate(meant):
        cuts = sorted(draw(st.sets(st.integers(0, len(arguments)), max_size=4)))
        parts = [arguments[a:b] for a, b in zip([0, *cuts], [*cuts, len(arguments)], strict=True)]
        index = {"none": None, "zero": 0, "right": number}[indices]
        queues.append(
            [
                ToolCallDelta(
                    index,
                    f"c{number}" if ids == "always" or (ids == "first" and not at) else "",
                    name if not at else "",
                    part,
                )
                for at, part in enumerate(parts)
            ]
        )
    sent: list[ToolCallDelta] = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        sent.append(queue.pop(0))
    return meant, sent[: draw(st.integers(0, len(sent)))] if draw(st.booleans()) else sent


@given(streams())
def test_what_is_run_was_meant_however_the_pieces_come(stream):
    meant, sent = stream
    assembly = CallAssembly()
    for delta in sent:
        assembly.add(delta)

    # An empty text is a call without arguments: one that was cut off there can't be told from it.
    calls = tuple(call for call in assembly.calls() if call.arguments)
    message, _ = repair(AssistantMessage(None, calls), "tool_calls", (f.definition, g.definition))
    left = [(name, json.loads(arguments)) for name, arguments in meant]
    for call in message.tool_calls:
        if is_json_object(call.arguments) and not problem_of(call.arguments):
            left.remove((call.name, json.loads(call.arguments)))


def event_of(delta: ToolCallDelta) -> bytes:
    piece = {"index": delta.index, "id": delta.id or None, "function": {"name": delta.name or None}}
    piece["function"]["arguments"] = delta.arguments
    return b"data: " + json.dumps({"choices": [{"delta": {"tool_calls": [piece]}}]}).encode() + b"\n\n"


@given(streams(), st.sampled_from(("tool_calls", "stop", "length", None)), st.data())
def test_what_is_run_was_meant_wherever_the_bytes_are_cut(stream, finish, data):
    meant, sent = stream
    end = json.dumps({"choices": [{"delta": {}, "finish_reason": finish}]}).encode()
    raw = b"".join(map(event_of, sent)) + b"data: " + end + b"\n\ndata: [DONE]\n\n"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)))
    reader, assembly = ResponseReader(None), CallAssembly()
    batches = [reader.feed(raw[a:b]) for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    *deltas, finished = [delta for batch in (*batches, reader.end()) for delta in batch]
    for delta in deltas:
        assembly.add(delta)

    calls = tuple(call for call in assembly.calls() if call.arguments)
    message, _ = repair(AssistantMessage(None, calls), finished.reason, (f.definition, g.definition))
    left = [(name, json.loads(arguments)) for name, arguments in meant]
    for call in message.tool_calls:
        if is_json_object(call.arguments) and not problem_of(call.arguments):
            left.remove((call.name, json.loads(call.arguments)))


@given(streams())
def test_nothing_is_lost_where_the_server_tells_its_calls_apart(stream):
    meant, sent = stream
    assembly = CallAssembly()
    named = {delta.id for delta in sent}
    for delta in sent:
        assembly.add(delta)
    whole = "".join(delta.arguments for delta in sent) and len(sent)
    if whole and "" not in named and len(named) == len(meant):
        whole_texts = {
            f"c{n}": "".join(delta.arguments for delta in sent if delta.id == f"c{n}") for n in range(len(meant))
        }
        assert {call.id: call.arguments for call in assembly.calls()} == whole_texts


@pytest.mark.parametrize(
    "pieces",
    [
        [(0, f"c{n}", "f", '{"a') for n in range(20_000)] + [(0, "", "", "1")] * 20_000,
        [(n, "", "f", '{"a') for n in range(20_000)] + [(None, "", "", "1")] * 20_000,
        [(0, "", "f", '{"a": "' + "x" * 500_000 + '"}')] + [(0, "", "f", "")] * 20_000,
        [(0, "", "f", '{"a": "' + "x" * 500_000 + '"}')] + [(0, "", "f", '{"a": "')] + [(0, "", "", "x")] * 20_000,
        [(0, "a", "f", '{"a": "')] + [(0, "", "", "\\\\")] * 50_000,
    ],
)
def test_it_takes_time_in_proportion_to_what_came(pieces):
    before = time.thread_time()
    assembled(*pieces)

    assert time.thread_time() - before < 10
