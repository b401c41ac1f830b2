"""Nearly right tool calls are made right; nothing else becomes one."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall, is_json_object
from gaia_core.models import problem_of, repair
from gaia_core.models._call_arguments import content_of
from gaia_core.tools import tool


@tool(effects="read")
def read_file(path: str) -> str:
    """Read."""


@tool(effects="read")
def list_files() -> str:
    """List."""


TOOLS = (list_files.definition, read_file.definition)
CALL = '{"name": "read_file", "arguments": {"path": "a.txt"}}'


def calls_in(text: str, finish: str = "stop", tools=TOOLS) -> list:
    """The calls that *text* becomes, as (name, arguments)."""
    message, reason = repair(AssistantMessage(text), finish, tools)
    if not message.tool_calls:
        assert (message, reason) == (AssistantMessage(text), finish), "what is no call must stay as it is"
        return []
    assert reason == "tool_calls"
    assert message.content is None
    return [(call.name, json.loads(call.arguments)) for call in message.tool_calls]


def repaired(*arguments: str, name: str = "read_file", finish: str = "tool_calls") -> tuple[list, str]:
    """What becomes of calls with these arguments: their (name, arguments), and the finish reason."""
    calls = tuple(ToolCall(f"c{n}", FunctionCall(name, text)) for n, text in enumerate(arguments))
    message, reason = repair(AssistantMessage(None, calls), finish, TOOLS)
    return [(call.name, call.arguments) for call in message.tool_calls], reason


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"  \n{CALL}\n ",
        f"```json\n{CALL}\n```",
        f"```\n{CALL}\n```",
        f"```JSON {CALL}```",
        f"```tool_call\n{CALL}\n```",
        f"```json\n{CALL}",
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"<tool_call>{CALL}",
        f"[{CALL}]",
        '{"name": "read_file", "parameters": {"path": "a.txt"}}',
        '{"tool": "read_file", "args": {"path": "a.txt"}}',
        '{"tool_name": "read_file", "input": {"path": "a.txt"}}',
        '{"function": "read_file", "arguments": {"path": "a.txt"}}',
        '{"type": "function", "function": {"name": "read_file", "arguments": {"path": "a.txt"}}}',
        '{"id": "c1", "type": "function", "name": "read_file", "arguments": {"path": "a.txt"}}',
        '{"name": "read_file", "arguments": "{\\"path\\": \\"a.txt\\"}"}',
        '{"name": "Read-File", "arguments": {"path": "a.txt"}}',
        '{"name": "functions.read_file", "arguments": {"path": "a.txt"}}',
        '{"name": "read_file", "arguments": {"path": "a.txt",}}',
        "{'name': 'read_file', 'arguments': {'path': 'a.txt'}}",
        '{name: "read_file", arguments: {path: "a.txt"}}',
        '{"name": "read_file", "arguments": {"path": "a.txt"}',
        '{"name": "read_file", "arguments": {"path": "a.txt"}}}',
    ],
)
def test_a_call_written_as_text_is_a_call(text):
    assert calls_in(text) == [("read_file", {"path": "a.txt"})]


@pytest.mark.parametrize(
    "text",
    [
        f'[{CALL}, {{"name": "list_files", "arguments": {{}}}}]',
        f'<tool_call>{CALL}</tool_call>\n<tool_call>{{"name": "list_files"}}</tool_call>',
        f'<tool_call>{CALL}</tool_call><tool_call>{{"name": "list_files", "arguments": null}}',
        f'{CALL}\n{{"name": "list_files"}}',
        f'```json\n{CALL}, {{"name": "list_files"}};\n```',
    ],
)
def test_several_calls_are_several_calls(text):
    assert calls_in(text) == [("read_file", {"path": "a.txt"}), ("list_files", {})]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Hello",
        "{",
        "[]",
        "{}",
        "``````",
        "```",
        "<tool_call>",
        "<tool_call></tool_call>",
        "[1, 2]",
        '"read_file"',
        '["read_file"]',
        '{"name": "write_file", "arguments": {}}',
        '{"name": "read_file", "arguments": {"path": "a.txt"}, "comment": "?"}',
        '{"name": ["read_file"], "arguments": {}}',
        '{"arguments": {"path": "a.txt"}}',
        f"You call it so: {CALL}",
        f"{CALL} is how you call it.",
        f"{CALL}\n\nThis reads the file.",
        '{"name": "read_file", "arguments": {path: "a.txt"}} is how you call it.',
        f"```json\n{CALL}\n```\nThis reads the file.",
        f"```json\n{CALL}\n```\nand\n```json\n{CALL}\n```",
        f"<tool_call>{CALL}</tool_call> That was it.",
        f'[{CALL}, "and more"]',
        f'[{CALL}, {{"name": "other"}}]',
        "```python\nread_file('a.txt')\n```",
        '{"city": "Oslo", "name": "list_files"}',
    ],
)
def test_what_is_not_wholly_a_call_stays_text(text):
    assert calls_in(text) == []


def test_without_tools_nothing_is_a_call():
    assert calls_in(CALL, tools=()) == []


def test_a_text_that_was_cut_off_is_no_call():
    assert calls_in(CALL, finish="length") == []


def test_a_name_that_could_mean_two_tools_means_none():
    @tool(effects="read")
    def Read_File(path: str) -> str:
        """Read."""

    assert calls_in('{"name": "READ-FILE"}', tools=(read_file.definition, Read_File.definition)) == []
    assert calls_in('{"name": "Read_File"}', tools=(read_file.definition, Read_File.definition)) == [("Read_File", {})]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('{"name": "read_file", "arguments": {"path": "a.t', '{"path": "a.t'),
        ('{"name": "read_file", "arguments": {"path": "a.txt"', '{"path": "a.txt"'),
        ('```json\n{"name": "read_file", "arguments": {"path": "a.t', '{"path": "a.t'),
        ('<tool_call>{"name": "read_file", "arguments": {"path": "a.t', '{"path": "a.t'),
        ('[{"name": "read_file", "arguments": {"path": "a.t', '{"path": "a.t'),
        ('{"name": "read_file", "argu', '{"name": "read_file", "argu'),
        ('{"name": "read_file", "arguments":', '{"name": "read_file", "arguments":'),
    ],
)
def test_a_call_in_text_that_is_cut_off_is_refused_and_never_completed(text, arguments):
    message, reason = repair(AssistantMessage(text), "stop", TOOLS)

    assert [(call.name, call.arguments) for call in message.tool_calls] == [("read_file", arguments)]
    assert reason == "tool_calls"
    assert problem_of(arguments) == "they were cut off before their end"


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "read_file", "arguments": {"path": "a.txt"}',
        '[{"name": "read_file", "arguments": {"path": "a.txt"}',
        '[{"name": "read_file", "arguments": {"path": "a.txt"}}',
    ],
)
def test_a_call_in_text_whose_arguments_are_whole_is_one(text):
    assert calls_in(text) == [("read_file", {"path": "a.txt"})]


def test_a_call_in_text_that_says_a_name_twice_is_refused():
    text = '{"name": "read_file", "arguments": {"path": "a", "path": "b"}}'
    message, _ = repair(AssistantMessage(text), "stop", TOOLS)

    assert [problem_of(call.arguments) for call in message.tool_calls] == ['"path" is given twice; which one is meant?']


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ('{"path": "a"}', ""),
        ("{}", ""),
        ('{"path": "a', "they were cut off before their end"),
        ('{"path": {"a": 1}', "they were cut off before their end"),
        ('"{', "they were cut off before their end"),
        ('{"a": 1}{"a": 2}', "they are more than one JSON value"),
        ('{"a": 1} and', "they are more than one JSON value"),
        ('{"a": 1, "a": 1}', '"a" is given twice; which one is meant?'),
        ('{"x": [{"a": 1, "a": 2}]}', '"a" is given twice; which one is meant?'),
        ('["a"]', ""),  # the validation says what is wrong
        ("a.txt", ""),
    ],
)
def test_what_cannot_be_the_arguments_of_a_call_is_named(arguments, problem):
    assert problem_of(arguments) == problem


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"path": "a"}', '{"path": "a"}'),
        ("", "{}"),
        (" ", "{}"),
        ("null", "{}"),
        ('""', "{}"),
        ('"null"', "{}"),
        ('"{\\"path\\": \\"a\\"}"', '{"path": "a"}'),
        ('{"path": "a",}', '{"path":"a"}'),
        ("{'path': 'a'}", '{"path":"a"}'),
        ('{"path": "a"}}', '{"path": "a"}'),
        ('```json\n{"path": "a"}\n```', '{"path": "a"}'),
        ('"```json\\n{\\"path\\": \\"a\\"}\\n```"', '{"path": "a"}'),
        # Never content: what is cut off, said twice, more than one, or only nearly what was written.
        ('{"path": "a"', '{"path": "a"'),
        ('{"path": "a', '{"path": "a'),
        ("{'path': 'a", "{'path': 'a"),
        ('{"path": "a"}{"path": "b"}', '{"path": "a"}{"path": "b"}'),
        ("{'path': 'a', 'path': 'b'}", "{'path': 'a', 'path': 'b'}"),
        ('{"path": "C:\\dir"}', '{"path": "C:\\dir"}'),
        ("{'path': 'a' // not b\n}", "{'path': 'a' // not b\n}"),
        ("path=a.txt", "path=a.txt"),
        ("<path>a</path>", "<path>a</path>"),
        ('["a"]', '["a"]'),
        ("7", "7"),
        ("a.txt", "a.txt"),
        ('{"path": "\ud800"}', '{"path": "\ud800"}'),
    ],
)
def test_arguments_become_the_object_that_they_mean_or_stay(arguments, expected):
    assert repaired(arguments) == ([("read_file", expected)], "tool_calls")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("read_file", "read_file"),
        ("read-file", "read_file"),
        ("READ_FILE", "read_file"),
        (" read_file ", "read_file"),
        ("functions.read_file", "read_file"),
        ("readfile", "readfile"),
        ("", ""),
    ],
)
def test_a_name_becomes_the_tools_or_stays(name, expected):
    assert repaired("{}", name=name)[0] == [(expected, "{}")]


def test_calls_end_by_tool_calls_whatever_the_endpoint_says():
    assert repaired("{}", finish="stop") == ([("read_file", "{}")], "tool_calls")


def test_a_right_message_is_left_alone():
    message = AssistantMessage("So:", (ToolCall("c", FunctionCall("read_file", "{}")),), reasoning_content="Hm")
    assert repair(message, "tool_calls", TOOLS)[0] is message
    message = AssistantMessage("Hello", reasoning_content="Hm")
    assert repair(message, "stop", TOOLS) == (message, "stop")


def test_what_was_said_and_thought_beside_a_call_stays():
    message = AssistantMessage("So:", (ToolCall("c", FunctionCall("read-file", "")),), reasoning_content="Hm")
    changed, _ = repair(message, "stop", TOOLS)
    assert (changed.content, changed.reasoning_content, changed.tool_calls[0].id) == ("So:", "Hm", "c")
    changed, _ = repair(AssistantMessage(CALL, reasoning_content="Hm"), "stop", TOOLS)
    assert changed.reasoning_content == "Hm"


@pytest.mark.parametrize("cut", ['{"path": "a.t', "", '{"path": "a"', "null"])
def test_a_call_that_was_cut_off_is_left_out(cut):
    assert repaired(cut, finish="length") == ([], "length")
    assert repaired('{"path": "a"}', cut, finish="length") == ([("read_file", '{"path": "a"}')], "tool_calls")


def test_a_call_that_was_complete_before_the_limit_is_kept():
    assert repaired('{"path": "a"}', finish="length") == ([("read_file", '{"path": "a"}')], "tool_calls")


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>" + " " * 200_000 + "x",
        "<tool_call>" * 20_000,
        "```" + "\n" * 200_000 + "x",
        "{" * 20_000,
        "[" * 20_000,
        "{// x\n" * 2_000,
        '{"name": "read_file", "arguments": {"path": "' + "\\n" * 500_000,
    ],
)
def test_repair_does_not_take_long(text):
    before = time.thread_time()
    message, _ = repair(AssistantMessage(text), "stop", TOOLS)
    assert all(problem_of(call.arguments) for call in message.tool_calls)
    assert repaired(text)[0] == [("read_file", text)]
    problem_of(text)
    assert time.thread_time() - before < 10


words = tuple(f'"{word}"' for word in ("name", "read_file", "list_files", "arguments", "path", "function"))
tokens = ("```", "```json\n", "<tool_call>", "</tool_call>", "null", "9" * 20, "\ud800", CALL)
pieces = st.sampled_from((*"{}[]\":,'\\ \n\0x", *tokens, *words))
texts = st.one_of(st.lists(pieces, max_size=30).map("".join), st.text(), st.text(st.characters(categories=["Cs"])))


@given(texts, st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
def test_repair_never_raises_and_never_invents_a_call(text, finish):
    message, _ = repair(AssistantMessage(text), finish, TOOLS)
    for call in message.tool_calls:
        assert call.name in text, "a name that nobody wrote"
        if is_json_object(call.arguments) and not problem_of(call.arguments):
            assert content_of(call.arguments) in content_of(text) or call.arguments == "{}", "what nobody wrote"


@example(['{"```json\n{```'], "", "stop")  # on which json-repair fails an assertion of its own
@given(st.lists(texts, min_size=1, max_size=3), texts, st.sampled_from(["stop", "length", "tool_calls"]))
def test_repairing_calls_never_raises_and_never_adds_one(arguments, name, finish):
    calls = tuple(ToolCall(f"c{n}", FunctionCall(name, text)) for n, text in enumerate(arguments))
    message, reason = repair(AssistantMessage(None, calls), finish, TOOLS)
    kept = [call.id for call in message.tool_calls]
    assert kept == [call.id for call in calls][: len(kept)]
    assert len(calls) - len(kept) <= (1 if finish == "length" else 0)
    assert reason == ("tool_calls" if kept else "length")


@given(texts, st.sampled_from(["stop", "length"]))
def test_repairing_twice_is_repairing_once(text, finish):
    once = repair(AssistantMessage(text), finish, TOOLS)
    assert repair(*once, TOOLS) == once
