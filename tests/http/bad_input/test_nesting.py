"""JSON that is nested too deep, at every door of the server: at the limit it is taken, one level more is a 400 in the
envelope of that door, which says the limit, the place, and what to do."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import WSMsgType

from gaia_core import Agent, ScriptedModel, Toolset, call, tool
from gaia_core.nesting import MAX_NESTING

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
NO_JSON = {("POST", "/v1/files"), ("POST", "/v1/responses/x/cancel"), ("POST", "/api/sessions/x/activate")}
TOO_DEEP = (MAX_NESTING + 1, 1_000, 100_000)


def deep(levels: int) -> str:
    return '{"items":[' * (levels // 2) + "[]" * (levels % 2) + "]}" * (levels // 2)


def filled(body: object, levels: int) -> bytes:
    """*body* as JSON with nested JSON for each "DEEP", so that all of it has so many levels."""
    text = json.dumps(body)
    before = text.partition('"DEEP"')[0]
    around = sum(before.count(opening) - before.count(closing) for opening, closing in ("{}", "[]"))
    return text.replace('"DEEP"', deep(levels - around)).encode()


def chat(**fields: object) -> dict:
    return {"model": "a", "messages": [{"role": "user", "content": "Hi"}], **fields}


def respond(**fields: object) -> dict:
    return {"model": "a", "input": "Hi", **fields}


def function(**fields: object) -> dict:
    return {"type": "function", "function": {"name": "f", **fields}}


def called(arguments: str) -> list:
    """A conversation in which a model made a call."""
    made = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ]


def words_of(answer) -> str:
    """The words of an error, in the envelope of either API."""
    return answer.body["error"]["message"] if "error" in answer.body else answer.body["detail"]


async def test_every_route_takes_the_limit_and_refuses_more(server, ask, routes):
    taken, refused = (filled({"any": "DEEP"}, levels) for levels in (MAX_NESTING, MAX_NESTING + 1))
    for method, path in set(await routes(server)) - NO_JSON:
        answer = await ask(server, method, path, taken)
        assert "nested" not in str(answer.body), (method, path, answer)
        assert answer.is_refusal or answer.status == 200, (method, path, answer)

        answer = await ask(server, method, path, refused)
        assert answer.status == 400, (method, path, answer)
        assert answer.is_refusal, (method, path, answer)
        assert words_of(answer) == (
            "the body is nested deeper than 128 levels, in any.items[0].items; "
            "make it flatter, or send the inner part as a string"
        )


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        (CHAT, chat(tools=[function(parameters="DEEP")]), "tools[0].function.parameters"),
        (CHAT, chat(tool_choice="DEEP"), "tool_choice.items[0].items"),
        (CHAT, chat(functions="DEEP"), "functions.items[0].items"),
        (CHAT, chat(metadata="DEEP"), "metadata.items[0].items"),
        (
            CHAT,
            chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": "DEEP"}}),
            "response_format.json_schema.schema.items",
        ),
        (CHAT, {"model": "a", "messages": [{"role": "user", "content": "DEEP"}]}, "messages[0].content.items"),
        (CHAT, {"model": "a", "messages": [{"role": "user", "content": "Hi", "x": "DEEP"}]}, "messages[0].x.items"),
        (RESPONSES, respond(tools=[function()["function"] | {"parameters": "DEEP"}]), "tools[0].parameters.items"),
        (RESPONSES, respond(text={"format": {"type": "text", "schema": "DEEP"}}), "text.format.schema.items"),
        (RESPONSES, respond(input=[{"role": "user", "content": "DEEP"}]), "input[0].content.items"),
        (RESPONSES, respond(input=[{"type": "reasoning", "summary": "DEEP"}]), "input[0].summary.items"),
        (RESPONSES, respond(user="DEEP"), "user.items[0].items"),
        (RESPONSES, respond(prompt="DEEP"), "prompt.items[0].items"),
        ("/v1/responses/compact", respond(input="DEEP"), "input.items[0].items"),
        ("/v1/responses/input_tokens", respond(input="DEEP"), "input.items[0].items"),
        ("/v1/conversations", {"items": [{"role": "user", "content": "DEEP"}]}, "items[0].content.items"),
        ("/v1/conversations", {"metadata": "DEEP"}, "metadata.items[0].items"),
        ("/v1/embeddings", {"model": "a", "input": "DEEP"}, "input.items[0].items"),
        ("/api/sessions/import", {"session": "DEEP", "messages": []}, "session.items[0].items"),
        ("/api/chat/send", {"session_id": "x", "message": "DEEP"}, "message.items[0].items"),
    ],
)  # fmt: skip
async def test_wherever_it_stands_in_a_body(server, ask, path, body, place):
    answer = await ask(server, "POST", path, filled(body, MAX_NESTING))
    assert "nested deeper" not in str(answer.body), answer

    for levels in TOO_DEEP:
        answer = await ask(server, "POST", path, filled(body, levels))

        assert answer.status == 400
        assert f"nested deeper than 128 levels, in {place}" in words_of(answer)
        if path.startswith("/v1"):
            error = answer.body["error"]
            assert (error["code"], error["param"], error["type"]) == (
                "nesting_too_deep",
                place,
                "invalid_request_error",
            )


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, lambda text: {"model": "a", "messages": called(text)}, "messages[1].tool_calls[0].function.arguments"),
        (
            CHAT,
            lambda text: chat(
                messages=[
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": text}},
                ]
            ),
            "messages[1].function_call.arguments",
        ),
        (
            RESPONSES,
            lambda text: respond(
                input=[
                    {"role": "user", "content": "Hi"},
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": text},
                    {"type": "function_call_output", "call_id": "c", "output": "x"},
                ]
            ),
            "input[1].arguments",
        ),
        (
            RESPONSES,
            lambda text: respond(
                input=[
                    {"role": "user", "content": "Hi"},
                    {"type": "mcp_call", "id": "m", "name": "f", "arguments": text, "output": "x"},
                    {"role": "user", "content": "Hi"},
                ]
            ),
            "input[1].arguments",
        ),
    ],
)
async def test_arguments_that_a_client_sends_back_are_json_as_well(server, ask, path, body: Callable, param):
    taken = await ask(server, "POST", path, json.dumps(body(deep(MAX_NESTING))).encode())
    assert taken.status == 200, taken

    for levels in TOO_DEEP:
        answer = await ask(server, "POST", path, json.dumps(body(deep(levels))).encode())

        error = answer.body["error"]
        assert (answer.status, error["code"], error["param"]) == (400, "nesting_too_deep", param), answer
        assert error["message"].startswith(f"{param} is nested deeper than 128 levels, in items[0].items[0]; ")


async def test_results_of_tools_are_text_however_deep_they_are(server, ask):
    sent = called("{}")
    sent[2]["content"] = deep(100_000)

    assert (await ask(server, "POST", CHAT, json.dumps({"model": "a", "messages": sent}).encode())).status == 200


async def test_messages_of_a_socket(server):
    async with server.http.ws_connect("/v1/responses") as socket:

        async def answer(body: dict, levels: int) -> dict:
            await socket.send_str(filled(body, levels).decode())
            while True:
                message = await socket.receive(20)
                assert message.type == WSMsgType.TEXT, message
                event = json.loads(message.data)
                if event["type"] in ("error", "response.completed", "response.steer.failed"):
                    return event

        create = {"type": "response.create", **respond(x="DEEP")}
        assert (await answer(create, MAX_NESTING))["type"] == "response.completed"
        for levels in TOO_DEEP:
            refused = await answer(create, levels)

            assert (refused["type"], refused["status"]) == ("error", 400)
            assert refused["error"]["code"] == "nesting_too_deep"
            assert "the body is nested deeper than 128 levels, in x.items[0].items" in refused["error"]["message"]
        steer = {"type": "response.steer", "previous_response_id": "resp_x", "input": "DEEP"}
        assert (await answer(steer, MAX_NESTING))["type"] == "response.steer.failed"
        assert (await answer(steer, MAX_NESTING + 1))["error"]["code"] == "nesting_too_deep"
        assert (await answer(create, MAX_NESTING))["type"] == "response.completed"


@tool(effects=())
async def keep(value: Any) -> str:
    """Keep a value."""
    return "kept"


async def test_a_model_that_calls_with_deep_arguments_is_told_so_whoever_has_the_tool(serve, ask, as_it_was):
    asked: list[str] = []

    def say(request):
        last = request.messages[-1]
        if "call" not in str(request.messages[0].content):
            return "still well"
        if type(last).__name__ == "ToolMessage":
            asked.append(str(last.content))
            return "I see" if "nested" in str(last.content) else "kept"
        mine, levels = str(request.messages[0].content).split()[1:]
        return call("theirs" if mine == "theirs" else "keep", value=json.loads(deep(int(levels) - 1)))

    server = await serve(ScriptedModel(say), agents=(Agent("a", tools=Toolset("t", (keep,))),))
    theirs = [{"type": "function", "function": {"name": "theirs", "parameters": {"type": "object"}}}]
    async with as_it_was(server):
        for whose in ("keep", "theirs"):
            for levels in (MAX_NESTING, MAX_NESTING + 1):
                sent = chat(messages=[{"role": "user", "content": f"call {whose} {levels}"}], tools=theirs)
                answer = await ask(server, "POST", CHAT, json.dumps(sent).encode())

                (choice,) = answer.body["choices"]
                given = choice["message"].get("tool_calls") or ()
                if levels > MAX_NESTING:
                    assert choice["message"]["content"] == "I see"
                    assert "nested deeper than 128 levels, in value.items[0].items; make them flatter" in asked[-1]
                elif whose == "theirs":
                    assert json.loads(given[0]["function"]["arguments"]) == {"value": json.loads(deep(levels - 1))}
                else:
                    assert asked[-1] == "kept"
