"""Prompted tools over a turn: what a small model may do at each step, and that what it is asked only grows."""

import json
from contextlib import aclosing
from itertools import pairwise
from typing import Literal

import pytest

from gaia_core.events import TextDelta
from gaia_core.messages import (
    ATTACHED,
    AssistantMessage,
    FunctionCall,
    ImagePart,
    ImageURL,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    text_of,
)
from gaia_core.models import Finished, ModelRequest, PromptedTools, ScriptedModel, ToolCallDelta, ToolChoice
from gaia_core.models._must_look import must_look
from gaia_core.tools import define, tool


@tool(effects="read")
def list_files(path: str = ".", recursive: bool = False) -> str:
    """List the files in a folder."""


@tool(effects="read")
def read_file(path: str, start_line: int = 1) -> str:
    """Read a file of the folder."""


@tool(effects="write")
def delete_file(path: str) -> str:
    """Delete a file."""


@tool(effects="read")
def get_forecast(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius", days: int = 1) -> str:
    """Get the forecast for a city."""


TOOLS = (list_files.definition, read_file.definition, delete_file.definition)
READING = ["list_files", "read_file"]
ALL = [*READING, "delete_file", None]
"""With an answer."""
ASKED = UserMessage("What is in a.txt?")


def called(name: str, number: int = 1, **arguments: object) -> AssistantMessage:
    return AssistantMessage(None, (ToolCall(f"c{number}", FunctionCall(name, json.dumps(arguments))),))


READ = called("read_file", path="a.txt")
FOUND = ToolMessage("contents", "c1", "ok")
FAILED = ToolMessage("Error: There is no 'a.txt'.", "c1", "error")


async def stepped(*messages: Message, answers=('{"answer": "Hi"}',), tools=TOOLS, **options: object):
    """What is told in this step, and each request that the model beneath was asked."""
    given = iter(answers)
    model = ScriptedModel(lambda request: next(given))
    told = []
    async with aclosing(PromptedTools(model).stream(ModelRequest(messages, tools, **options))) as stream:
        async for batch in stream:
            told += batch
    return told, model.requests


def names(request: ModelRequest) -> list:
    """The tools that can be called, and None where an answer can be given."""
    forms = json.loads(request.response_format.schema)["anyOf"]
    return [form["properties"].get("name", {}).get("const") for form in forms]


def arguments(request: ModelRequest, name: str) -> list[str]:
    forms = json.loads(request.response_format.schema)["anyOf"]
    (found,) = (form for form in forms if form["properties"].get("name") == {"const": name})
    return list(found["properties"]["arguments"]["properties"])


# Looking first.


@pytest.mark.parametrize(
    "message",
    [
        "What is in a.txt?",
        "what does docs/install say",
        "Where is print_all defined?",
        "where is sqlite3 used",
        "What does parseAll do?",
        "Who is Edda Holm?",
        'Does it say "dry run" there?',
        "Which files are here?",
        "What is in this folder?",
        "Read notes.txt.",
    ],
)
async def test_a_message_that_names_something_is_looked_into_by_reading_before_it_is_answered(message):
    _, (request,) = await stepped(UserMessage(message))
    assert names(request) == READING


@pytest.mark.parametrize(
    "message",
    [
        "Hello!",
        "Good morning",
        "Thanks, that was helpful.",
        "What is 17 plus 25?",
        "What's 3.5 times 2?",
        "Hi, I'm Anna.",
        "Tell me a joke.",
        "How are you?",
        "It's what I don't know.",
        "",
    ],
)
async def test_a_message_that_names_nothing_may_be_answered_at_once(message):
    _, (request,) = await stepped(UserMessage(message))
    assert names(request) == ALL


async def test_without_a_tool_that_is_known_to_read_nobody_has_to_look():
    clients = (define("send_mail", "Send a mail.", b'{"type":"object","properties":{"to":{"type":"string"}}}'),)
    _, (request,) = await stepped(UserMessage("Who is Edda Holm?"), tools=clients)
    assert names(request) == ["send_mail", None]


def test_what_tools_are_about_are_the_nouns_in_their_names_and_those_that_they_share():
    lamps = (
        define("list_lamps", "List the lamps of a room.", b"{}"),
        define("dim_lamp", "Dim a lamp in a room.", b"{}"),
    )
    assert must_look("which lamps are on", lamps)
    assert must_look("is the room dark", lamps)
    assert not must_look("what is the list of primes", lamps)
    assert not must_look("which files are here", lamps)

    rooms = (define("get_name", "Get the name of a room.", b"{}"), define("set_name", "Set the name.", b"{}"))
    assert not must_look("what is your name", rooms)


async def test_a_look_that_failed_is_followed_by_another_one_and_then_by_an_answer():
    _, (after,) = await stepped(ASKED, READ, FAILED)
    twice = (called("list_files", 2, path="b"), ToolMessage("Error: There is no 'b'.", "c2", "error"))
    _, (at_last,) = await stepped(ASKED, READ, FAILED, *twice)
    assert names(after) == READING
    assert names(at_last) == ALL


async def test_a_model_that_began_to_look_by_itself_looks_again_when_that_failed():
    _, (request,) = await stepped(UserMessage("What does it say?"), READ, FAILED)
    assert names(request) == READING


async def test_a_failed_call_that_is_no_reading_can_be_corrected():
    call = called("delete_file", path="b")
    _, (request,) = await stepped(UserMessage("Delete it."), call, FAILED)
    assert names(request) == ALL


async def test_a_result_that_begins_like_an_error_was_found():
    log = ToolMessage("Error: disk full\nError: disk full", "c1", "ok")
    _, (request,) = await stepped(ASKED, READ, log)
    assert names(request) == ALL


# The same call.


async def test_a_call_that_was_made_already_is_not_made_again_but_answered_from():
    again = '{"name": "read_file", "arguments": {"path":   "a.txt"}}'
    told, (first, second) = await stepped(ASKED, READ, FOUND, answers=(again, '{"answer": "contents"}'))
    assert names(first) == ALL
    assert names(second) == [None]
    assert second.messages[:-2] == first.messages
    assert second.messages[-2] == AssistantMessage(again)
    assert "What is in a.txt?" in text_of(second.messages[-1].content)
    assert [delta for delta in told if isinstance(delta, ToolCallDelta)] == []
    assert "".join(delta.text for delta in told if isinstance(delta, TextDelta)) == "contents"
    (finished,) = (delta for delta in told if isinstance(delta, Finished))
    assert finished.reason == "stop"


async def test_a_failed_call_that_is_made_again_leaves_the_other_tools():
    again = '{"name": "read_file", "arguments": {"path": "a.txt"}}'
    other = '{"name": "list_files", "arguments": {}}'
    told, (_, second) = await stepped(ASKED, READ, FAILED, answers=(again, other))
    assert names(second) == ["list_files"]
    assert [delta.name for delta in told if isinstance(delta, ToolCallDelta)] == ["list_files"]


async def test_the_only_tool_that_fails_twice_leaves_an_answer():
    again = '{"name": "read_file", "arguments": {"path": "a.txt"}}'
    answers = (again, '{"answer": "It is not there."}')
    _, (_, second) = await stepped(ASKED, READ, FAILED, answers=answers, tools=(read_file.definition,))
    assert names(second) == [None]


async def test_both_requests_of_a_step_are_counted():
    class Counting:
        def __init__(self):
            self.answers = iter(('{"name": "read_file", "arguments": {"path": "a.txt"}}', '{"answer": "Hi"}'))

        async def stream(self, request):
            yield (TextDelta(next(self.answers)), Finished("stop", Usage(10, 3)))

    async with aclosing(PromptedTools(Counting()).stream(ModelRequest((ASKED, READ, FOUND), TOOLS))) as stream:
        told = [delta async for batch in stream for delta in batch]
    assert told[-1] == Finished("stop", Usage(20, 6))


@pytest.mark.parametrize("more", [{"path": "b.txt"}, {"path": "a.txt", "start_line": 2}])
async def test_another_call_is_made(more):
    call = json.dumps({"name": "read_file", "arguments": more})
    told, requests = await stepped(ASKED, READ, FOUND, answers=(call,))
    assert len(requests) == 1
    assert told[0] == ToolCallDelta(0, "", "read_file", json.dumps(more))


async def test_a_call_of_an_earlier_turn_is_made_again():
    call = '{"name": "read_file", "arguments": {"path": "a.txt"}}'
    earlier = (ASKED, READ, FOUND, AssistantMessage("It says: contents"))
    told, requests = await stepped(*earlier, ASKED, answers=(call,))
    assert len(requests) == 1
    assert isinstance(told[0], ToolCallDelta)


async def test_a_call_that_must_be_made_is_made_again():
    call = '{"name": "read_file", "arguments": {"path": "a.txt"}}'
    told, requests = await stepped(ASKED, READ, FOUND, answers=(call,), tool_choice=ToolChoice("required"))
    assert len(requests) == 1
    assert isinstance(told[0], ToolCallDelta)


# Parameters.


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("How warm is it in Oslo?", ["city"]),
        ("How warm is it in Oslo, in fahrenheit?", ["city", "unit"]),
        ("What is the weather of the next 3 days in Oslo?", ["city", "days"]),
    ],
)
async def test_an_optional_parameter_is_offered_when_it_or_its_value_is_spoken_of(message, expected):
    _, (request,) = await stepped(UserMessage(message), tools=(get_forecast.definition,))
    assert arguments(request, "get_forecast") == expected


async def test_what_a_result_speaks_of_can_be_used_in_the_next_call():
    more = ToolMessage("a\n[… 3 more lines; continue with start_line=2]", "c1", "ok")
    _, (request,) = await stepped(ASKED, READ, more)
    assert arguments(request, "read_file") == ["path", "start_line"]
    _, (later,) = await stepped(ASKED, READ, more, AssistantMessage("a"), UserMessage("Thanks."))
    assert arguments(later, "read_file") == ["path"]


async def test_a_tool_without_a_required_parameter_keeps_its_first_one():
    _, (request,) = await stepped(ASKED)
    assert arguments(request, "list_files") == ["path"]
    assert '(else ".")' in text_of(request.messages[0].content)


# The prefix.


async def test_what_a_model_is_asked_begins_with_what_it_was_asked_before():
    second = (called("list_files", 2, path="."), ToolMessage("a.txt\nb.txt", "c2", "ok"))
    turn = (
        SystemMessage("Be brief."),
        ASKED,
        READ,
        FAILED,
        *second,
        AssistantMessage("There is none."),
        UserMessage("Thanks."),
        AssistantMessage("You are welcome."),
        UserMessage("What is in b.txt?"),
    )
    asked = [
        (await stepped(*turn[:upto]))[1][0].messages
        for upto in range(2, len(turn) + 1)
        if isinstance(turn[upto - 1], UserMessage | ToolMessage)
    ]
    for before, after in pairwise(asked):
        assert after[: len(before)] == before


async def test_images_behind_a_result_are_sent_with_it_and_are_no_question():
    image = ImagePart(ImageURL("data:image/png;base64,AAAA"))
    attached = UserMessage((TextPart(ATTACHED.format("c1")), image))
    messages = (ASKED, READ, FOUND, AssistantMessage("[No answer yet.]"), attached)
    asked: list[ModelRequest] = []

    def model(request: ModelRequest) -> str:
        asked.append(request)
        return '{"answer": "ok"}'

    async with aclosing(PromptedTools(ScriptedModel(model)).stream(ModelRequest(messages, TOOLS))) as stream:
        async for _ in stream:
            pass

    *_, called_it, last = asked[0].messages
    assert isinstance(called_it, AssistantMessage)
    assert text_of(last.content).startswith("Result of read_file, 1 line:\ncontents\n\nMy question: What is in a.txt?")
    assert last.content[-1] == image
