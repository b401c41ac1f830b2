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
    repair,
)
from gaia_core.models._prompted_tools import _Decoder
from gaia_core.tools import ToolDefinition, tool


@tool(effects="read")
def read_file(path: str, limit: int = 10) -> str:
    """Read a file."""


@tool(effects="read")
def list_files() -> str:
    """List the files."""


TOOLS = (list_files.definition, read_file.definition)
ASKED = UserMessage("What is in a.txt?")
CALLED = AssistantMessage(None, (ToolCall("c1", FunctionCall("read_file", '{"path":"a.txt"}')),))
RESULT = ToolMessage("contents", "c1")


async def asked(*messages: Message, tools=TOOLS, **options: object) -> ModelRequest:
    """What the model beneath is asked."""
    model = ScriptedModel(lambda request: '{"name": "reply", "text": "Hi"}')
    request = ModelRequest(messages or (ASKED,), tools, **options)
    async with aclosing(PromptedTools(model).stream(request)) as stream:
        async for _ in stream:
            pass
    return model.requests[0]


def told(*texts: str, reason: str = "stop", tools=TOOLS) -> list:
    """What these pieces of an answer mean, each in a batch of its own."""
    decoder = _Decoder(tools)
    batches = [decoder.feed((TextDelta(text),)) for text in texts]
    return [delta for batch in batches for delta in batch] + list(decoder.feed((Finished(reason, Usage(1, 2)),)))


def text_in(deltas: list) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


# What is asked.


async def test_the_answer_is_any_of_the_calls_or_a_reply():
    request = await asked()
    assert request.tools == ()
    assert request.response_format.type == "json_schema"
    *calls, reply = json.loads(request.response_format.schema)["anyOf"]
    for form, definition in zip(calls, TOOLS, strict=True):
        assert form == {
            "type": "object",
            "properties": {"name": {"const": definition.name}, "arguments": json.loads(definition.parameters)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
    assert reply["properties"] == {"name": {"const": "reply"}, "text": {"type": "string"}}


async def test_a_schema_that_refers_to_itself_still_does():
    parameters = (
        b'{"type":"object","properties":{"tree":{"$ref":"#/$defs/Node"},"self":{"$ref":"#"}},'
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
        system, user = (await asked(first, ASKED)).messages
        assert isinstance(system, SystemMessage)
        assert "\n\nBe brief.\n\n" in system.content
        for word in ("read_file", "Read a file.", "path", "limit (optional", "list_files"):
            assert word in system.content
        assert user == ASKED
    system, user = (await asked()).messages
    assert "read_file" in system.content


async def test_a_tool_whose_schema_says_little_is_told_too():
    definition = ToolDefinition("any", "Any.", b'{"properties":{"x":true,"y":{}}}', b"")
    assert "x (optional): any; y (optional): any" in (await asked(tools=(definition,))).messages[0].content


async def test_what_is_asked_of_the_model_does_not_change_otherwise():
    sampling = Sampling(temperature=0.5)
    request = await asked(sampling=sampling, session_key="s")
    assert (request.sampling, request.session_key) == (sampling, "s")


async def test_without_tools_a_request_passes_as_it_is():
    form = ResponseFormat("json_object")
    request = await asked(SystemMessage("Be brief."), ASKED, tools=(), response_format=form)
    assert request == ModelRequest((SystemMessage("Be brief."), ASKED), response_format=form)


async def test_after_a_result_the_tools_are_left_out_and_then_come_back():
    after = await asked(ASKED, CALLED, RESULT)
    assert after.response_format is None
    assert "contents" in text_of(after.messages[-1].content)
    assert not any(isinstance(message, SystemMessage) for message in after.messages)
    again = await asked(ASKED, CALLED, RESULT, AssistantMessage("It says: contents"), UserMessage("And b.txt?"))
    assert again.response_format is not None
    assert again.messages[-1] == UserMessage("And b.txt?")


@pytest.mark.parametrize("outcome", ["error", "timeout", "invalid", "unknown_tool"])
async def test_after_a_call_that_failed_it_can_be_corrected(outcome):
    assert (await asked(ASKED, CALLED, ToolMessage("No.", "c1", outcome))).response_format is not None


@pytest.mark.parametrize("outcome", ["ok", "denied", "cancelled", "unknown", None])
async def test_a_result_that_begins_like_an_error_is_no_failure(outcome):
    log = ToolMessage("Error: disk full\nError: disk full", "c1", outcome)
    assert (await asked(ASKED, CALLED, log)).response_format is None


async def test_the_question_is_said_again_after_a_result_and_after_an_error():
    answering = await asked(ASKED, CALLED, RESULT)
    correcting = await asked(ASKED, CALLED, ToolMessage("Error: no such file", "c1", "error"))

    assert text_of(answering.messages[-1].content).endswith("What is in a.txt?")
    assert 'make the right call for my question "What is in a.txt?"' in text_of(correcting.messages[-1].content)


async def test_a_tool_whose_same_call_failed_twice_is_left_out_until_the_user_speaks():
    failed = ToolMessage("Error: no such file", "c1", "error")
    twice = (ASKED, CALLED, failed, CALLED, failed)

    (stuck,) = {form["properties"]["name"]["const"] for form in forms(await asked(*twice))} - {"reply"}
    later = {form["properties"]["name"]["const"] for form in forms(await asked(*twice, ASKED))}

    assert stuck == "list_files"
    assert later == {"list_files", "read_file", "reply"}


def forms(request: ModelRequest) -> list:
    return json.loads(request.response_format.schema)["anyOf"]


async def test_earlier_calls_and_results_are_told_in_plain_messages():
    both = AssistantMessage("So:", (*CALLED.tool_calls, ToolCall("c2", FunctionCall("list_files", ""))))
    said = AssistantMessage("It has contents.")
    request = await asked(ASKED, both, RESULT, ToolMessage("a.txt", "c2"), said, UserMessage("And b.txt?"))
    _, user, assistant, results, *rest = request.messages
    assert user == ASKED
    assert assistant == AssistantMessage(
        'So:\n{"name": "read_file", "arguments": {"path":"a.txt"}}\n{"name": "list_files", "arguments": {}}'
    )
    assert results == UserMessage("Result of read_file:\ncontents\n\nResult of list_files:\na.txt")
    assert rest == [said, UserMessage("And b.txt?")]


@pytest.mark.parametrize("said", [None, "So:"])
async def test_the_answer_is_made_from_what_was_found_and_the_call_is_not_shown(said):
    called = AssistantMessage(said, CALLED.tool_calls)
    user, assistant, found = (await asked(ASKED, called, ToolMessage("Result of magic: 7", "c1"))).messages
    assert user == ASKED
    assert assistant == AssistantMessage(said or "Let me look.")
    assert "read_file" not in text_of(found.content)
    assert "Result of magic: 7" in text_of(found.content)


async def test_of_several_results_each_is_named():
    both = AssistantMessage(None, (*CALLED.tool_calls, ToolCall("c2", FunctionCall("list_files", ""))))
    *_, found = (await asked(ASKED, both, RESULT, ToolMessage("a.txt", "c2"))).messages
    for word in ("read_file", "contents", "list_files", "a.txt"):
        assert word in text_of(found.content)


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (ToolChoice("required"), ["list_files", "read_file"]),
        (ToolChoice("required", "read_file"), ["read_file"]),
        (ToolChoice("auto", "read_file"), ["read_file"]),
    ],
)
@pytest.mark.parametrize("messages", [(ASKED,), (ASKED, CALLED, RESULT)])
async def test_a_tool_that_must_be_called_leaves_no_reply(choice, names, messages):
    request = await asked(*messages, tool_choice=choice)
    forms = json.loads(request.response_format.schema)["anyOf"]
    assert [form["properties"]["name"]["const"] for form in forms] == names


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
    pieces = ['{"na', 'me": "reply"', ', "text": "', "Hel", "lo", ' \\"you\\"', '"}']
    assert told(*pieces) == [
        TextDelta("Hel"),
        TextDelta("lo"),
        TextDelta(' "you"'),
        Finished("stop", Usage(1, 2)),
    ]


def test_order_is_kept_within_a_batch():
    decoder = _Decoder(TOOLS)
    start = TextDelta('{"name":"reply","text":"a')
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
    whole = '{"name":"reply","text":' + json.dumps(text, ensure_ascii=escaped) + "}"
    count = (
        list(range(len(whole) + 1)) if data is None else data.draw(st.lists(st.integers(0, len(whole)), max_size=20))
    )
    cuts = sorted(count)
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    deltas = told(*pieces)
    assert text_in(deltas) == joined(json.loads(whole)["text"])
    assert deltas[-1] == Finished("stop", Usage(1, 2))
    text_in(deltas).encode()


@given(replies, st.data())
def test_a_reply_that_is_cut_off_is_told_as_far_as_it_came(text, data):
    whole = '{"name":"reply","text":' + json.dumps(text) + "}"
    end = data.draw(st.integers(24, len(whole)))
    deltas = told(whole[:end], reason="length")
    assert joined(text).startswith(text_in(deltas))
    assert deltas[-1].reason == "length"


@given(
    st.text(st.characters(codec="utf-8")) | st.text(alphabet='\\u"dx0{}:, name'), st.sampled_from(["stop", "length"])
)
def test_whatever_stands_in_a_reply_nothing_is_raised(inside, reason):
    deltas = told('{"name": "reply", "text": "', *inside, reason=reason)
    assert isinstance(deltas[-1], Finished)
    text_in(deltas).encode()


@pytest.mark.parametrize(
    ("inside", "expected"),
    [(r"a\'b", "a'b"), (r"\x41", "x41"), (r"\u12", "u12"), ("a\nb\tc", "a\nb\tc"), (r"\u00zz.", "u00zz.")],
)
def test_escapes_that_are_none_are_taken_as_they_stand(inside, expected):
    assert text_in(told('{"name": "reply", "text": "' + inside + '"}')) == expected


@pytest.mark.parametrize(
    "written",
    [
        '{"text": "Hi", "name": "reply"}',
        '{"name": "reply", "arguments": {"text": "Hi"}}',
        '  \n{ "name" : "reply" , "text" : "Hi" }\n',
        '{"name": "reply", "text": "Hi"} and more',
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
    decoder = _Decoder(TOOLS)
    batch = (ToolCallDelta(0, "c", "read_file", "{}"), Finished("tool_calls"))
    assert decoder.feed(batch) == batch


async def test_leaving_the_stream_closes_the_one_beneath(ask):
    closed: list[str] = []

    class Beneath:
        async def stream(self, request):
            try:
                yield (TextDelta('{"name":"reply","text":"Hi'),)
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
    model, there = await endpoint(wire.answer(*call), wire.answer("It says: ", "contents"))
    prompted = PromptedTools(model)
    first = await ask(prompted, ModelRequest((ASKED,), TOOLS))
    assert first.of(ToolCallDelta) == [ToolCallDelta(0, "", "read_file", '{"path": "a.txt"}')]
    second = await ask(prompted, ModelRequest((ASKED, CALLED, RESULT), TOOLS))
    assert second.text == "It says: contents"
    assert there.asked[0].body["response_format"]["type"] == "json_schema"
    assert "tools" not in there.asked[0].body
    assert "response_format" not in there.asked[1].body
