"""Prompted tools: a model that only writes JSON of a schema answers, calls tools, and streams its replies."""

import json
from contextlib import aclosing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gaia_core.events import ModelRetried, ReasoningDelta, TextDelta
from gaia_core.messages import (
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    text_of,
)
from gaia_core.models import (
    Finished,
    ModelRequest,
    PromptedTools,
    ResponseFormat,
    Sampling,
    ScriptedModel,
    ToolCallDelta,
    ToolChoice,
    _prompted_tools,
    repair,
)
from gaia_core.models._prompted_form import offered
from gaia_core.models._prompted_tools import _Decoder, _Step
from gaia_core.tools import ToolDefinition, tool


@tool(effects="read")
def read_file(path: str, limit: int = 10) -> str:
    """Read a file."""


@tool(effects="read")
def list_files() -> str:
    """List the files."""


TOOLS = (list_files.definition, read_file.definition)
ASKED = UserMessage("What is in it?")
CALLED = AssistantMessage(None, (ToolCall("c1", FunctionCall("read_file", '{"path":"a.txt"}')),))
RESULT = ToolMessage("contents", "c1")


async def asked(*messages: Message, tools=TOOLS, **options: object) -> ModelRequest:
    """What the model beneath is asked."""
    model = ScriptedModel(lambda request: '{"answer": "Hi"}')
    request = ModelRequest(messages or (ASKED,), tools, **options)
    async with aclosing(PromptedTools(model).stream(request)) as stream:
        async for _ in stream:
            pass
    return model.requests[0]


def told(*texts: str, reason: str = "stop", tools=TOOLS) -> list:
    """What these pieces of an answer mean, each in a batch of its own."""
    decoder = _Decoder(_Step(tools, offered(tools, ()), may_answer=True))
    batches = [decoder.feed((TextDelta(text),)) for text in texts]
    return [delta for batch in batches for delta in batch] + list(decoder.feed((Finished(reason, Usage(1, 2)),)))


def text_in(deltas: list) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


# What is asked.


async def test_a_message_is_any_of_the_calls_or_an_answer():
    request = await asked()
    assert request.tools == ()
    assert request.response_format.type == "json_schema"
    listing, reading, answer = json.loads(request.response_format.schema)["anyOf"]
    assert listing["properties"] == {
        "name": {"const": "list_files"},
        "arguments": json.loads(list_files.definition.parameters),
    }
    assert reading["properties"]["name"] == {"const": "read_file"}
    assert list(reading["properties"]["arguments"]["properties"]) == ["path"]
    assert answer["properties"] == {"answer": {"type": "string"}}
    for form in (listing, reading, answer):
        assert form["required"] == list(form["properties"])
        assert form["additionalProperties"] is False


async def test_a_schema_that_refers_to_itself_still_does():
    parameters = (
        b'{"type":"object","properties":{"tree":{"$ref":"#/$defs/Node"},"self":{"$ref":"#"}},"required":["tree","self"],'
        b'"$defs":{"Node":{"properties":{"next":{"$ref": "#/$defs/Node"}}}}}'
    )
    definition = ToolDefinition("grow", "Grow.", parameters, b"")
    schema = json.loads((await asked(tools=(definition, *TOOLS))).response_format.schema)

    def resolved(reference: str) -> object:
        assert reference.startswith("#/")
        value = schema
        for name in reference[2:].split("/"):
            value = value[name]
        return value

    arguments = resolved(schema["anyOf"][0]["properties"]["arguments"]["$ref"])
    assert resolved(arguments["properties"]["self"]["$ref"]) == arguments
    node = resolved(arguments["properties"]["tree"]["$ref"])
    assert resolved(node["properties"]["next"]["$ref"]) == node


async def test_the_tools_are_told_beside_the_agents_instructions():
    for first in (SystemMessage("Be brief."), DeveloperMessage("Be brief.")):
        system, *_, user = (await asked(first, ASKED)).messages
        assert isinstance(system, SystemMessage)
        assert "\n\nBe brief.\n\n" in system.content
        for word in ("read_file", "Read a file.", "path", "optional, when they are spoken of: limit", "list_files"):
            assert word in system.content
        assert user == ASKED
    system, *examples, user = (await asked()).messages
    assert "read_file" in system.content
    assert [type(one) for one in examples] == [UserMessage, AssistantMessage] * (len(examples) // 2)


async def test_a_tool_whose_schema_says_little_is_told_too():
    definition = ToolDefinition("any", "Any.", b'{"properties":{"x":true,"y":{}}}', b"")
    assert "x: any; optional, when they are spoken of: y" in (await asked(tools=(definition,))).messages[0].content


async def test_what_is_asked_of_the_model_does_not_change_otherwise():
    sampling = Sampling(temperature=0.5)
    request = await asked(sampling=sampling, session_key="s")
    assert (request.sampling, request.session_key) == (sampling, "s")


async def test_without_tools_a_request_passes_as_it_is():
    form = ResponseFormat("json_object")
    request = await asked(SystemMessage("Be brief."), ASKED, tools=(), response_format=form)
    assert request == ModelRequest((SystemMessage("Be brief."), ASKED), response_format=form)


async def test_after_a_result_a_further_call_can_be_made():
    after = await asked(ASKED, CALLED, RESULT)
    assert names(after) == ["list_files", "read_file", None]
    assert (
        text_of(after.messages[-1].content) == "Result of read_file, 1 line:\ncontents\n\nMy question: What is in it?"
    )


@pytest.mark.parametrize("outcome", ["error", "timeout", "invalid", "unknown_tool"])
async def test_a_call_that_failed_is_told_as_failed(outcome):
    last = (await asked(ASKED, CALLED, ToolMessage("No.", "c1", outcome))).messages[-1]
    assert last == UserMessage("read_file failed:\nNo.\n\nMy question: What is in it?")


@pytest.mark.parametrize("outcome", ["ok", "denied", "cancelled", "unknown", None])
async def test_a_result_that_begins_like_an_error_is_no_failure(outcome):
    log = ToolMessage("Error: disk full\nError: disk full", "c1", outcome)
    last = (await asked(ASKED, CALLED, log)).messages[-1]
    assert text_of(last.content).startswith("Result of read_file, 2 lines:\nError")


async def test_a_tools_remarks_are_not_counted_as_lines_of_its_result():
    found = ToolMessage("a\n\nb\n[… 3 more lines]", "c1")
    assert "read_file, 2 lines:" in text_of((await asked(ASKED, CALLED, found)).messages[-1].content)


async def test_a_question_that_is_long_is_not_said_again():
    long = UserMessage("x" * 501)
    assert text_of((await asked(long, CALLED, RESULT)).messages[-1].content).endswith("contents")


async def test_a_form_of_the_final_text_is_kept_by_an_answer_without_tools():
    form = ResponseFormat("json_schema", b'{"type":"object"}')
    first = await asked(ASKED, response_format=form)
    after = await asked(ASKED, CALLED, RESULT, response_format=form)
    assert names(first) == ["list_files", "read_file", None]
    assert after.response_format == form


def names(request: ModelRequest) -> list:
    """The tools that can be called, and None where an answer can be given."""
    forms = json.loads(request.response_format.schema)["anyOf"]
    return [form["properties"].get("name", {}).get("const") for form in forms]


async def test_earlier_calls_results_and_answers_are_told_in_plain_messages():
    both = AssistantMessage("So:", (*CALLED.tool_calls, ToolCall("c2", FunctionCall("list_files", ""))))
    said = AssistantMessage("It has contents.")
    request = await asked(ASKED, both, RESULT, ToolMessage("a.txt", "c2"), said, UserMessage("And b?"))
    *_, user, assistant, results, answer, last = request.messages
    assert user == ASKED
    assert assistant == AssistantMessage(
        'So:\n{"name": "read_file", "arguments": {"path":"a.txt"}}\n{"name": "list_files", "arguments": {}}'
    )
    assert results == UserMessage(
        "Result of read_file, 1 line:\ncontents\n\nResult of list_files, 1 line:\na.txt\n\nMy question: What is in it?"
    )
    assert answer == AssistantMessage('{"answer":"It has contents."}')
    assert last == UserMessage("And b?")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("required"), ["list_files", "read_file"]),
        (ToolChoice("required", "read_file"), ["read_file"]),
        (ToolChoice("auto", "read_file"), ["read_file"]),
    ],
)
@pytest.mark.parametrize("messages", [(ASKED,), (ASKED, CALLED, RESULT)])
async def test_a_tool_that_must_be_called_leaves_no_answer(choice, expected, messages):
    request = await asked(*messages, tool_choice=choice)
    assert names(request) == expected


async def test_tools_that_must_not_be_called_are_not_told():
    request = await asked(tool_choice=ToolChoice("none"))
    assert request.response_format is None
    assert request.messages == (ASKED,)


# What is told.


def test_a_call_is_a_call():
    assert told('{"name": "read_file", "arg', 'uments": {"path": "a.txt"}}') == [
        ToolCallDelta(0, "", "read_file", '{"path": "a.txt"}'),
        Finished("tool_calls", Usage(1, 2)),
    ]


def test_a_reply_is_streamed_as_it_comes():
    pieces = ['{"an', 'swer"', ': "', "Hel", "lo", ' \\"you\\"', '"}']
    assert told(*pieces) == [
        TextDelta("Hel"),
        TextDelta("lo"),
        TextDelta(' "you"'),
        Finished("stop", Usage(1, 2)),
    ]


def test_order_is_kept_within_a_batch():
    decoder = _Decoder(_Step(TOOLS, offered(TOOLS, ()), may_answer=True))
    start = TextDelta('{"answer":"a')
    batch = (
        ModelRetried(1, 0.1, "x"),
        ReasoningDelta("Hm"),
        start,
        ReasoningDelta("So"),
        TextDelta('b"}'),
        Finished("stop"),
    )
    assert decoder.feed(batch) == (
        ModelRetried(1, 0.1, "x"),
        ReasoningDelta("Hm"),
        TextDelta("a"),
        ReasoningDelta("So"),
        TextDelta("b"),
        Finished("stop"),
    )


def joined(text: str) -> str:
    """*text*, pairs of surrogates joined, the others replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


halves = st.sampled_from(["\ud83d", "\ude00", "\ud83d\ude00", "a", '"', "\\", "\n", "\0", "ü", "😀", "/"])
replies = st.one_of(st.text(), st.lists(halves, max_size=12).map("".join))


@given(replies, st.booleans(), st.data())
@example("\ud800\ud83d\ude00", True, None)
def test_a_reply_that_is_split_anywhere_is_the_text_that_it_means(text, escaped, data):
    text = text if escaped else joined(text)
    whole = '{"answer":' + json.dumps(text, ensure_ascii=escaped) + "}"
    count = (
        list(range(len(whole) + 1)) if data is None else data.draw(st.lists(st.integers(0, len(whole)), max_size=20))
    )
    cuts = sorted(count)
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    deltas = told(*pieces)
    assert text_in(deltas) == joined(json.loads(whole)["answer"])
    assert deltas[-1] == Finished("stop", Usage(1, 2))
    text_in(deltas).encode()


@given(replies, st.data())
def test_a_reply_that_is_cut_off_is_told_as_far_as_it_came(text, data):
    whole = '{"answer":' + json.dumps(text) + "}"
    end = data.draw(st.integers(11, len(whole)))
    deltas = told(whole[:end], reason="length")
    assert joined(text).startswith(text_in(deltas))
    assert deltas[-1].reason == "length"


@given(
    st.text(st.characters(codec="utf-8")) | st.text(alphabet='\\u"dx0{}:, name'), st.sampled_from(["stop", "length"])
)
def test_whatever_stands_in_a_reply_nothing_is_raised(inside, reason):
    deltas = told('{"answer": "', *inside, reason=reason)
    assert isinstance(deltas[-1], Finished)
    text_in(deltas).encode()


@pytest.mark.parametrize(
    ("inside", "expected"),
    [(r"a\'b", "a'b"), (r"\x41", "x41"), (r"\u12", "u12"), ("a\nb\tc", "a\nb\tc"), (r"\u00zz.", "u00zz.")],
)
def test_escapes_that_are_none_are_taken_as_they_stand(inside, expected):
    assert text_in(told('{"answer": "' + inside + '"}')) == expected


@pytest.mark.parametrize(
    "written",
    [
        '{"name": "answer", "answer": "Hi"}',
        '{"thought": "", "answer": "Hi"}',
        '  \n{ "answer" : "Hi" }\n',
        '{"answer": "Hi"} and more',
        "Hi",
    ],
)
def test_a_reply_in_another_form_is_a_reply(written):
    assert text_in(told(written)) == "Hi"


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_plain_text_of_an_endpoint_that_ignores_schemas_is_an_answer(reason):
    assert told("It says: ", "contents", reason=reason) == [
        TextDelta("It says: contents"),
        Finished(reason, Usage(1, 2)),
    ]


def test_half_a_call_is_neither_run_nor_told():
    assert told('{"name": "read_file", "arguments": {"pa', reason="length") == [Finished("length", Usage(1, 2))]


def test_a_call_that_was_complete_at_the_limit_is_a_call():
    *_, finished = told('{"name": "list_files", "arguments": {}}', reason="length")
    assert finished.reason == "tool_calls"


@pytest.mark.parametrize(
    "written",
    [
        '{"name": "write_file", "arguments": {}}',
        '{"name": "read_file"}',
        '{"city": "Oslo"}',
        "[1]",
        '{"name": 7}',
        "{bad",
    ],
)
def test_what_is_no_call_is_told_as_text(written):
    assert told(written) == [TextDelta(written), Finished("stop", Usage(1, 2))]


def test_a_call_in_a_fence_is_left_to_be_repaired():
    written = '```json\n{"name": "list_files", "arguments": {}}\n```'
    message, reason = repair(AssistantMessage(text_in(told(written))), "stop", TOOLS)
    assert (message.tool_calls[0].name, reason) == ("list_files", "tool_calls")


def test_calls_that_the_model_makes_by_itself_pass():
    decoder = _Decoder(_Step(TOOLS, offered(TOOLS, ()), may_answer=True))
    batch = (ToolCallDelta(0, "c", "read_file", "{}"), Finished("tool_calls"))
    assert decoder.feed(batch) == batch


async def test_leaving_the_stream_closes_the_one_beneath(ask):
    closed: list[str] = []

    class Beneath:
        async def stream(self, request):
            try:
                yield (TextDelta('{"answer":"Hi'),)
                yield (Finished("stop"),)
            finally:
                closed.append("stream")

        async def aclose(self):
            closed.append("model")

    model = PromptedTools(Beneath())
    async with aclosing(model.stream(ModelRequest((ASKED,), TOOLS))) as stream:
        assert await anext(stream) == (TextDelta("Hi"),)
    assert closed == ["stream"]
    await model.aclose()
    assert closed == ["stream", "model"]
    await PromptedTools(ScriptedModel(lambda request: "")).aclose()


async def test_over_an_endpoint_a_tool_is_called_and_its_result_told(endpoint, ask, wire):
    call = '{"name": "read_file", "arguments": {"path": "a.txt"}}'
    model, there = await endpoint(wire.answer(*call), wire.answer('{"answer": "It says: ', 'contents"}'))
    prompted = PromptedTools(model)
    first = await ask(prompted, ModelRequest((ASKED,), TOOLS))
    assert first.of(ToolCallDelta) == [ToolCallDelta(0, "", "read_file", '{"path": "a.txt"}')]
    second = await ask(prompted, ModelRequest((ASKED, CALLED, RESULT), TOOLS))
    assert second.text == "It says: contents"
    assert there.asked[0].body["response_format"]["type"] == "json_schema"
    assert "tools" not in there.asked[0].body
    assert there.asked[1].body["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize("beginning", ['{"answer": "', '{"name": "write", "arguments": {"text": "', "", "Words: "])
@pytest.mark.parametrize("piece", ["word ", " ", "\\u00e4"])
def test_a_long_answer_costs_each_piece_once(monkeypatch, beginning, piece):
    """Each piece was appended to the text before it, which copied that text, and was matched again from its start."""
    decoder = _Decoder(_Step(TOOLS, offered(TOOLS, ()), may_answer=True))
    monkeypatch.setattr(_Decoder, "text", property(lambda _decoder: pytest.fail("the whole text was joined")))
    scanned = 0

    def counted(text: str) -> tuple[int, bool]:
        nonlocal scanned
        scanned += len(text)
        return safe_end(text)

    safe_end = _prompted_tools._safe_end
    monkeypatch.setattr(_prompted_tools, "_safe_end", counted)
    for text in (*beginning, *[piece] * 4_000):
        decoder.feed((TextDelta(text),))

    assert scanned <= len(piece) * 4_000
