"""POST /v1/chat/completions, answered in one piece: what the model is asked, and what the client is told."""

import asyncio

import openai
import pytest

from gaia_core import Agent, ApprovalPolicy, Context, Limits, Toolset, call, tool
from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.messages import (
    AssistantMessage,
    AudioPart,
    FileData,
    FilePart,
    FunctionCall,
    ImagePart,
    ImageURL,
    InputAudio,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from gaia_core.models import Finished, ResponseFormat, Sampling

PIXEL = "data:image/png;base64,iVBORw0KGgo="


@tool(effects="read")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADDER = Agent("a", tools=Toolset("tools", (add,)))


async def test_an_answer_has_the_shape_of_the_api(serve, body, snapshot):
    server = await serve((ReasoningDelta("Hm."), TextDelta("Hello"), Finished("stop", Usage(5, 7, 3, 2))))

    status, headers, answer = await server.post(body())

    assert status == 200
    assert headers["content-type"] == "application/json"
    assert answer.pop("id").startswith("chatcmpl-")
    assert answer.pop("created") > 1_700_000_000
    assert answer.pop("system_fingerprint") == server.runtime.catalog.agent("a").fingerprint
    assert answer == snapshot


async def test_the_official_sdk_takes_it(serve):
    server = await serve("Hello Ann", "Hello Bob")

    async with server.sdk() as client:
        answer = await client.chat.completions.create(model="a", messages=[{"role": "user", "content": "I am Ann"}])
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        other = await asyncio.to_thread(
            client.chat.completions.create, model="a", messages=[{"role": "user", "content": "I am Bob"}]
        )

    assert answer.choices[0].message.content == "Hello Ann"
    assert answer.choices[0].finish_reason == "stop"
    assert other.choices[0].message.content == "Hello Bob"


async def test_the_agents_own_tools_run_here_and_are_told_beside_the_message(serve, body, snapshot):
    server = await serve(AssistantMessage("Let me see.", (call("add", a=1, b=2),)), "It is 3", agents=(ADDER,))

    _, _, answer = await server.post(body())

    assert answer["choices"][0]["message"] == snapshot
    assert answer["choices"][0]["finish_reason"] == "stop"
    (made,) = answer["x_gaia"]["tool_calls"]
    assert made["seconds"] >= 0
    assert made | {"seconds": 0} == {
        "id": "call_1", "tool": "add", "arguments": '{"a":1,"b":2}', "outcome": "ok", "seconds": 0,
    }  # fmt: skip
    assert answer["usage"]["completion_tokens"] == 4 + 3  # the sum over the steps


async def test_a_denied_call_says_why(serve, body):
    agent = Agent("a", tools=Toolset("tools", (add,)), approvals=ApprovalPolicy(tools={"add"}))
    server = await serve(call("add", a=1, b=2), "I may not.", agents=(agent,))

    _, _, answer = await server.post(body())

    (made,) = answer["x_gaia"]["tool_calls"]
    assert made["outcome"] == "denied"
    assert made["reason"] == "the agent's policy asks for every call of add, and nobody is here to give it"
    assert made["reason"] in server.model.requests[1].messages[-1].content


async def test_nothing_of_the_conversation_is_lost(serve, body):
    server = await serve("ok", inputs=("image", "audio", "file"))
    messages = [
        {"role": "system", "content": "S"},
        {"role": "developer", "content": [{"type": "text", "text": "D"}]},
        {"role": "user", "name": "ann", "content": [
            {"type": "text", "text": "Look"},
            {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
        ]},
        {"role": "assistant", "content": None, "reasoning_content": "Hm", "refusal": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}},
            {"id": "c2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "a dog"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
        {"role": "user", "content": ""},
    ]  # fmt: skip

    status, _, answer = await server.post(body(messages=messages))

    assert status == 200, answer
    assert server.model.requests[0].messages == (
        SystemMessage("S\n\nD"),  # the leading ones are joined by the turn
        UserMessage((
            TextPart("Look"),
            ImagePart(ImageURL(PIXEL, "low")),
            AudioPart(InputAudio("UklGRg==", "wav")),
            FilePart(FileData("data:application/pdf;base64,JVBERi0=", None, "a.pdf")),
        ), "ann"),
        AssistantMessage(
            None,
            (ToolCall("c1", FunctionCall("look", '{"at": 1}')), ToolCall("c2", FunctionCall("look", "{}"))),
            reasoning_content="Hm",
        ),
        ToolMessage("a cat", "c1"),
        ToolMessage((TextPart("a dog"),), "c2"),
        AssistantMessage((RefusalPart("No"),)),
        UserMessage(""),
    )  # fmt: skip


@pytest.mark.parametrize("nothing", [None, [], ""])
async def test_a_tool_may_have_said_nothing(serve, body, nothing):
    made = {"id": "c1", "type": "function", "function": {"name": "send", "arguments": "{}"}}
    server = await serve("Sent.")

    status, _, _ = await server.post(
        body()
        | {
            "messages": [
                {"role": "user", "content": "Send it."},
                {"role": "assistant", "content": nothing, "tool_calls": [made]},
                {"role": "tool", "tool_call_id": "c1", "content": nothing},
            ]
        }
    )

    assert status == 200
    _, called, result = server.model.requests[0].messages
    assert called.content in (None, "")
    assert called.tool_calls == (ToolCall("c1", FunctionCall("send", "{}")),)
    assert result == ToolMessage("", "c1")


async def test_function_calls_of_the_first_form_become_tool_calls(serve, body):
    server = await serve("ok")
    messages = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
        {"role": "function", "name": "look", "content": "a cat"},
    ]

    await server.post(body(messages=messages))

    assert server.model.requests[0].messages == (
        UserMessage("Go"),
        AssistantMessage(None, (ToolCall("call_function_1", FunctionCall("look", "{}")),)),
        ToolMessage("a cat", "call_function_1"),
    )


async def test_a_developers_words_in_the_middle_are_told_there_in_a_users_message(serve, body):
    server = await serve("ok")
    messages = [{"role": "user", "content": "Hi"}, {"role": "developer", "content": "Be brief"}]

    await server.post(body(messages=messages))

    assert server.model.requests[0].messages == (UserMessage("Hi\n\n<system>\nBe brief\n</system>"),)


async def test_sampling_options_reach_the_model(serve, body):
    server = await serve("ok", "ok")
    options = {
        "temperature": 0.1, "top_p": 0.9, "stop": ["a", "b"], "seed": 42, "presence_penalty": 0.5,
        "frequency_penalty": -0.5, "logit_bias": {"7": 1, "3": -1}, "reasoning_effort": "low", "max_tokens": 9,
    }  # fmt: skip

    await server.post(body(**options))
    await server.post(body(stop="x", max_tokens=9, max_completion_tokens=10))

    assert server.model.requests[0].sampling == Sampling(
        temperature=0.1, top_p=0.9, stop=("a", "b"), seed=42, presence_penalty=0.5, frequency_penalty=-0.5,
        logit_bias=(("3", -1.0), ("7", 1.0)), reasoning_effort="low", max_tokens=9,
    )  # fmt: skip
    assert server.model.requests[1].sampling == Sampling(stop="x", max_tokens=10, limit_name="max_completion_tokens")


async def test_no_limit_as_clients_of_local_servers_say_it(serve, body):
    server = await serve("ok")

    status, _, _ = await server.post(body(max_tokens=-1))

    assert status == 200
    assert server.model.requests[0].sampling.max_tokens is None


async def test_null_is_absent_and_unknown_fields_are_ignored(serve, body):
    server = await serve("ok")
    fields = (
        "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "response_format",
        "temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias",
        "reasoning_effort", "max_tokens", "max_completion_tokens", "n", "logprobs", "top_logprobs",
        "modalities", "metadata", "store", "user", "service_tier", "functions", "function_call",
    )  # fmt: skip
    messages = [
        {"role": "user", "content": "Hi", "name": None, "tool_calls": None, "tool_call_id": None, "x": {}},
        {"role": "assistant", "content": None, "tool_calls": None, "audio": None},
    ]

    status, _, answer = await server.post(body(messages=messages) | dict.fromkeys(fields))

    assert status == 200, answer
    assert server.model.requests[0].sampling == Sampling()
    assert server.model.requests[0].messages == (UserMessage("Hi"), AssistantMessage("[This answer was empty.]"))


async def test_what_concerns_no_agent_is_accepted(serve, body):
    server = await serve("ok")

    status, _, _ = await server.post(body(
        metadata={"k" * 64: "v" * 512}, store=True, user={"name": "Ann"}, safety_identifier="x", prompt_cache_key="y",
        service_tier="auto", n=1, logprobs=False, top_logprobs=0, modalities=["text"], stream=False,
        tools=[{"type": "web_search"}, {"type": "custom", "custom": {"name": "x"}}], response_format={"type": "text"},
    ))  # fmt: skip

    assert status == 200
    assert server.model.requests[0].tools == ()


async def test_a_response_format_reaches_a_model_without_tools(serve, body):
    server = await serve("{}", "{}")
    schema = {"name": "thing", "strict": True, "schema": {"type": "object"}}

    await server.post(body(response_format={"type": "json_object"}))
    await server.post(body(response_format={"type": "json_schema", "json_schema": schema}))

    assert server.model.requests[0].response_format == ResponseFormat("json_object")
    assert server.model.requests[1].response_format == ResponseFormat(
        "json_schema", b'{"type": "object"}', "thing", True
    )


async def test_a_limit_is_the_finish_reason_length(serve, body):
    agent = Agent("a", tools=Toolset("tools", (add,)), limits=Limits(steps=1))
    server = await serve(AssistantMessage("Let me see.", (call("add", a=1, b=2),)), agents=(agent,))

    status, _, answer = await server.post(body())

    assert status == 200
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["choices"][0]["message"]["content"] == "Let me see."


async def test_a_session_is_echoed_and_lends_its_resources_only(serve, body):
    seen: list[str] = []

    @tool(effects="read")
    async def where(ctx: Context[None]) -> None:
        """Tell where."""
        seen.append(ctx.session_id)

    agent = Agent("a", tools=Toolset("tools", (where,)))
    server = await serve(call("where"), "one", "two", agents=(agent,))

    _, headers, _ = await server.post(body("first"), headers={"X-Session-Id": "my:session-1"})
    await server.post(body("second"), headers={"X-Session-Id": "my:session-1"})

    assert headers["x-session-id"] == "my:session-1"
    assert seen == ["my:session-1"]
    assert server.model.requests[2].messages == (UserMessage("second"),)  # the transcript is the whole truth


async def test_a_request_without_a_session_leaves_none(serve, body):
    server = await serve("one")

    _, headers, _ = await server.post(body())

    assert "x-session-id" not in headers
    assert server.runtime.stats().sessions == 0


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/vnd.api+json", ""])
async def test_json_by_any_of_its_names_or_none(serve, body, content_type):
    import json

    server = await serve("ok")

    status, _, answer = await server.post(data=json.dumps(body()).encode(), headers={"content-type": content_type})

    assert status == 200, answer


async def test_surrogates_of_a_model_are_mended(serve, body):
    server = await serve((TextDelta("a\ud83d\ude00b\ud800c"), Finished("stop", Usage())))

    _, _, answer = await server.post(body())

    assert answer["choices"][0]["message"]["content"] == "a\N{GRINNING FACE}b�c"


async def test_a_message_with_sources_is_no_task_of_open_webui(serve, body):
    """A chat that has files: its prompt begins as a task's does."""
    agent = Agent("a", instructions="Add things.", tools=Toolset("tools", (add,)))
    server = await serve("42", agents=(agent,))
    say = '### Task:\nAnswer from the context.\n\n<context>\n<source id="1">6 * 7 = 42</source>\n</context>\n\nWell?'

    _, given, _ = await server.post(body(say), headers={"X-Session-Id": "s"})

    assert given["x-session-id"] == "s"
    assert [tool.name for tool in server.model.requests[0].tools] == ["add"]
    assert server.model.requests[0].messages == (SystemMessage("Add things."), UserMessage(say))


async def test_what_the_header_says_of_a_task_counts_more_than_its_prompt(serve, body):
    agent = Agent("a", tools=Toolset("tools", (add,)))
    server = await serve("42", agents=(agent,))

    await server.post(body("### Task:\nAdd 40 and 2."), headers={"X-OpenWebUI-Task": ""})

    assert [tool.name for tool in server.model.requests[0].tools] == ["add"]


@pytest.mark.parametrize(
    ("say", "headers"),
    [
        ("### Task:\nWrite a title.", {}),
        ("### Task:\nWrite a title.", {"X-OpenWebUI-Task": "{{TASK}}"}),
        ("Write a title.", {"X-OpenWebUI-Task": "title_generation"}),
    ],
)
async def test_tasks_of_open_webui_are_answered_by_the_model_alone(serve, body, say, headers):
    agent = Agent("a", instructions="Add things.", tools=Toolset("tools", (add,)))
    server = await serve("Cats", agents=(agent,))
    tools = [{"type": "function", "function": {"name": "weather"}}]

    _, given, answer = await server.post(body(say, tools=tools), headers=headers | {"X-Session-Id": "s"})

    assert answer["choices"][0]["message"]["content"] == "Cats"
    assert "x-session-id" not in given
    assert server.model.requests[0].tools == ()
    assert server.model.requests[0].messages == (UserMessage(say),)
    assert server.model.requests[0].session_key != "s"


async def test_a_session_header_gives_resources_and_leaves_no_record(serve, body):
    server = await serve("Hello", "Hello")

    status, headers, _ = await server.post(body(), headers={"x-session-id": "mine"})

    assert (status, headers["x-session-id"]) == (200, "mine")
    assert await server.runtime.sessions.list("") == ((), 0)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_a_clients_reasoning_goes_back_with_its_calls(serve, body, field):
    server = await serve("ok")
    called = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": None, "tool_calls": [called], field: "Let me see."},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
    ]

    await server.post(body(messages=messages))

    assert f'"{field}":"Let me see."'.encode() in server.model.requests[0].encoded[1]
