"""The Ollama API: by the official `ollama` package on a running server, below /ollama and at the root; on the wire."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import ollama
import pytest

from gaia_core import Agent, ApprovalPolicy, Context, Toolset, call, scripted, tool
from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.messages import (
    AssistantMessage,
    FunctionCall,
    ImagePart,
    ImageURL,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from gaia_core.models import Finished, ModelError, ResponseFormat, Sampling
from gaia_http.keys import Keyring

PLAIN = "a-key-of-some-length"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 8).decode()
SHOWN = ImagePart(ImageURL(f"data:image/png;base64,{PNG}"))
SAY = [{"role": "user", "content": "Hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


OWN = Agent("a", tools=Toolset("tools", (secret,)))


@pytest.fixture(params=["", "/ollama"])
def prefix(request) -> str:
    return request.param


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., ollama.AsyncClient]]:
    """The official client, for a server."""
    async with AsyncExitStack() as stack:

        def client(server: object, prefix: str = "/ollama", **options: object) -> ollama.AsyncClient:
            made = ollama.AsyncClient(host=f"{server.url}{prefix}", **options)
            stack.push_async_callback(made.close)
            return made

        yield client


async def post(server: object, body: object, path: str = "/ollama/api/chat") -> tuple[int, dict]:
    async with server.http.post(path, json=body) as response:
        return response.status, await response.json()


# A conversation.


async def test_a_chat_streams_and_answers_whole(serve, client, prefix):
    answer = (ReasoningDelta("Hm."), TextDelta("Hello "), TextDelta("Ann"), Finished("stop", Usage(5, 7)))
    server = await serve(answer, answer)
    api = client(server, prefix)

    whole = await api.chat("a:latest", SAY)
    parts = [part async for part in await api.chat("a", SAY, stream=True)]

    assert (whole.message.content, whole.message.thinking) == ("Hello Ann", "Hm.")
    assert (whole.model, whole.done, whole.done_reason) == ("a:latest", True, "stop")
    assert (whole.prompt_eval_count, whole.eval_count) == (5, 7)
    assert whole.total_duration > 0
    assert "".join(part.message.content for part in parts) == "Hello Ann"
    assert "".join(part.message.thinking or "" for part in parts) == "Hm."
    assert [part.done for part in parts] == [*[False] * (len(parts) - 1), True]
    assert parts[-1].eval_count == 7


async def test_it_streams_lines_of_json_unless_told_not_to(serve):
    server = await serve("Hello", "Hello")

    async with server.http.post("/api/chat", json={"model": "a", "messages": SAY}) as response:
        lines = (await response.text()).splitlines()
    status, whole = await post(server, {"model": "a", "messages": SAY, "stream": False})

    assert response.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["done"] for line in lines] == [*[False] * (len(lines) - 1), True]
    assert (status, whole["message"]) == (200, {"role": "assistant", "content": "Hello"})


async def test_thinking_is_left_out_where_the_client_says_so(serve, client):
    answer = (ReasoningDelta("Hm."), TextDelta("Hello"), Finished("stop"))
    server = await serve(answer)

    whole = await client(server).chat("a", SAY, think=False)

    assert (whole.message.content, whole.message.thinking) == ("Hello", None)


async def test_a_prompt_is_generated_from(serve, client, prefix):
    server = await serve("Hello", "Hello", inputs=("image",))
    api = client(server, prefix)

    whole = await api.generate("a", "Hi", system="Be brief.", images=[PNG])
    parts = [part async for part in await api.generate("a", "Hi", stream=True)]

    assert whole.response == "Hello"
    assert "".join(part.response for part in parts) == "Hello"
    assert parts[-1].done_reason == "stop"
    assert server.model.requests[0].messages == (SystemMessage("Be brief."), UserMessage((TextPart("Hi"), SHOWN)))


async def test_nothing_is_asked_to_load_a_model_and_to_let_it_go(serve, client):
    server = await serve()
    api = client(server)

    loaded, unloaded, chat = await api.generate("a"), await api.generate("a", keep_alive=0), await api.chat("a", [])

    assert [answer.done_reason for answer in (loaded, unloaded, chat)] == ["load", "unload", "load"]
    assert server.model.requests == []


# Tools.


@pytest.mark.parametrize("stream", [False, True])
async def test_a_clients_tool_is_called_and_its_result_taken_by_name(serve, client, stream):
    server = await serve((call("weather", city="Paris"), call("weather", city="Rome")), "Sunny")
    api = client(server)

    if stream:
        calls = [
            called
            async for part in await api.chat("a", SAY, tools=[WEATHER], stream=True)
            for called in part.message.tool_calls or ()
        ]
    else:
        calls = (await api.chat("a", SAY, tools=[WEATHER])).message.tool_calls
    results = [
        {"role": "tool", "tool_name": "weather", "content": f"sun in {each.function.arguments['city']}"}
        for each in calls
    ]
    last = await api.chat("a", [*SAY, {"role": "assistant", "tool_calls": calls}, *results], tools=[WEATHER])

    assert [dict(each.function.arguments) for each in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert last.message.content == "Sunny"
    paris, rome = (
        ToolCall(f"call_1_{i}", FunctionCall("weather", f'{{"city":"{city}"}}'))
        for i, city in enumerate(("Paris", "Rome"))
    )
    assert server.model.requests[1].messages[1:] == (
        AssistantMessage(None, (paris, rome)),
        ToolMessage("sun in Paris", paris.id),
        ToolMessage("sun in Rome", rome.id),
    )


async def test_what_is_hidden_of_a_turn_comes_back_where_the_client_names_the_call(serve):
    server = await serve(call("secret"), call("weather", city="Paris"), "Sunny, 42", agents=(OWN,))
    body = {"model": "a", "messages": SAY, "tools": [WEATHER], "stream": False}

    _, first = await post(server, body)
    (called,) = first["message"]["tool_calls"]
    result = {"role": "tool", "tool_call_id": called["id"], "content": "sun"}
    _, last = await post(server, {**body, "messages": [*SAY, first["message"], result]})

    assert last["message"]["content"] == "Sunny, 42"
    assert server.model.requests[-1].messages[2].content == "the secret is 42"


async def test_the_agents_own_tools_are_thinking_and_never_calls(serve, client):
    server = await serve(call("secret"), "It is 42", agents=(OWN,))

    answer = await client(server).chat("a", SAY)

    assert answer.message.tool_calls is None
    assert answer.message.content == "It is 42"
    assert answer.message.thinking == "→ secret()\n← the secret is 42\n"


async def test_a_call_that_needs_approval_is_denied(serve, client):
    agent = Agent("a", tools=OWN.tools, approvals=ApprovalPolicy(tools={"secret"}))
    server = await serve(call("secret"), "I may not", agents=(agent,))

    answer = await client(server).chat("a", SAY)

    assert answer.message.content == "I may not"
    assert "✗" in answer.message.thinking


# What the model is asked.


async def test_options_reach_the_model(serve, client):
    server = await serve("{}", "{}")
    api = client(server)
    options = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "num_predict": 100, "stop": ["END"], "num_ctx": 4096}
    schema = {"type": "object", "properties": {}}

    await api.chat("a", SAY, options=options, format="json", think="low", keep_alive="5m")
    await api.chat("a", SAY, options={"num_predict": -1}, format=schema)

    first, second = server.model.requests
    assert first.sampling == Sampling(
        temperature=0.5, top_p=0.9, seed=7, stop=("END",), max_tokens=100, reasoning_effort="low"
    )
    assert first.response_format == ResponseFormat("json_object")
    assert (second.sampling, second.response_format.type) == (Sampling(), "json_schema")


async def test_images_and_thoughts_of_a_conversation_reach_the_model(serve, client):
    server = await serve("ok", inputs=("image",))
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look", "images": [PNG]},
        {"role": "assistant", "content": "A dot", "thinking": "Hm."},
        {"role": "user", "content": "Sure?"},
    ]

    await client(server).chat("a", messages)

    assert server.model.requests[0].messages == (
        SystemMessage("Be brief."),
        UserMessage((TextPart("Look"), SHOWN)),
        AssistantMessage("A dot", reasoning_content="Hm."),
        UserMessage("Sure?"),
    )


# Models.


async def test_the_agents_are_listed_and_described(serve, client, prefix):
    others = (Agent("deaf", client_tools="ignore"), Agent("strict", client_tools="reject"))
    server = await serve(agents=(OWN, Agent("b:8b"), *others), inputs=("image",))
    api = client(server, prefix)

    listed, loaded, shown = await api.list(), await api.ps(), await api.show("a:latest")

    assert [model.model for model in listed.models] == ["a:latest", "b:8b", "deaf:latest", "strict:latest"]
    assert listed.models[0].digest == OWN.fingerprint.partition(":")[2]
    assert [model.model for model in loaded.models] == [model.model for model in listed.models]
    assert set(shown.capabilities) == {"completion", "tools", "thinking", "vision"}
    assert [set((await api.show(name)).capabilities) for name in ("deaf", "strict")] == [
        {"completion", "thinking", "vision"}
    ] * 2, "they take no tools of a client"
    assert shown.modelinfo["general.architecture"] == "gaia"


async def test_the_version_is_one_that_clients_take(serve, prefix):
    server = await serve()

    async with server.http.get(f"{prefix}/api/version") as response:
        version = (await response.json())["version"]
    async with server.http.head("/ollama") as response:
        assert response.status == 200

    assert tuple(map(int, version.split("."))) >= (0, 6, 4)


# Errors, keys, and clients that leave.


@pytest.mark.parametrize(
    ("path", "fields", "status", "words"),
    [
        ("chat", {"model": None}, 400, "model is missing"),
        ("chat", {"model": "nobody"}, 404, "model 'nobody' not found"),
        ("chat", {"messages": [{"role": "x"}]}, 400, "messages[0].role: 'x' is not one of"),
        ("chat", {"messages": [{"role": "tool", "content": "x"}]}, 400, "messages[0]: no call"),
        (
            "chat",
            {"messages": [{"role": "user", "images": ["!"]}]},
            400,
            "messages[0].images[0]: the base64 data is broken",
        ),
        ("chat", {"messages": [{"role": "user", "images": ["aGk="]}]}, 400, "messages[0].images[0]: is no image"),
        ("chat", {"tools": [{"type": "function"}]}, 400, "tools[0].function is missing"),
        ("chat", {"options": {"temperature": "hot"}}, 400, "options.temperature: expected"),
        ("chat", {"format": 1}, 400, "format: '1' is not one of"),
        ("chat", {"think": "hard"}, 400, "think: 'hard' is not one of"),
        ("chat", {"logprobs": True}, 400, "logprobs: True is not supported"),
        ("generate", {"prompt": "Hi", "raw": True}, 400, "raw: 'True' is not supported"),
        ("generate", {"prompt": "Hi", "context": [1]}, 400, "context: '(1,)' is not supported"),
        ("show", {"model": "nobody"}, 404, "model 'nobody' not found"),
        ("pull", {}, 404, "there is no POST"),
    ],
)
async def test_bad_input_is_an_error_that_names_the_value(serve, path, fields, status, words):
    server = await serve("ok")

    found, answer = await post(server, {"model": "a", "messages": SAY} | fields, f"/ollama/api/{path}")

    assert (found, words in answer["error"]) == (status, True), answer


async def test_errors_at_the_root_have_ollamas_envelope_too(serve):
    server = await serve()

    _, own = await post(server, {"model": "nobody"}, "/api/show")
    _, other = await post(server, {}, "/api/chat/send")

    assert "not found" in own["error"]
    assert "detail" in other  # the UI API's


async def test_a_failure_is_a_status_or_a_line_of_the_stream(serve, client):
    class Breaks:
        async def stream(self, request):
            yield (TextDelta("par"),)
            await asyncio.wait_for(told.wait(), 10)
            raise ModelError("broken_stream", "the line broke")

    told = asyncio.Event()
    server = await serve(model=Breaks())

    async def read() -> None:
        async for _ in await client(server).chat("a", SAY, stream=True):
            told.set()

    with pytest.raises(ollama.ResponseError, match="the line broke"):
        await read()
    with pytest.raises(ollama.ResponseError, match="the line broke") as failed:
        await client(server).chat("a", SAY)

    assert failed.value.status_code == 502


async def test_keys_are_asked_for(serve, client, prefix):
    server = await serve("ok", keyring=Keyring(plain=PLAIN))

    with pytest.raises(ollama.ResponseError) as refused:
        await client(server, prefix).chat("a", SAY)
    answer = await client(server, prefix, headers={"authorization": f"Bearer {PLAIN}"}).chat("a", SAY)

    assert refused.value.status_code == 401
    assert answer.message.content == "ok"


async def test_a_client_that_leaves_cancels_its_turn(serve, upstream):
    model = upstream()
    server = await serve(model=model)

    async with server.http.post("/ollama/api/chat", json={"model": "a", "messages": SAY}) as response:
        await model.began.wait()
        response.close()

    await asyncio.wait_for(model.closed.wait(), 10)
    assert model.connected == 0


async def test_what_curl_sends_by_itself_is_taken_but_not_from_a_browser(serve):
    server = await serve(scripted("Hello"))
    body = b'{"model": "a", "stream": false, "messages": [{"role": "user", "content": "Hi"}]}'
    form = {"content-type": "application/x-www-form-urlencoded"}

    async with server.http.post("/ollama/api/chat", data=body, headers=form) as response:
        assert (response.status, (await response.json())["message"]["content"]) == (200, "Hello")
    for name in ("origin", "sec-fetch-site"):
        value = f"http://127.0.0.1:{server.http._base_url.port}" if name == "origin" else "cross-site"
        async with server.http.post("/ollama/api/chat", data=body, headers={**form, name: value}) as response:
            assert response.status in (403, 415)
    async with server.http.post("/v1/chat/completions", data=body, headers=form) as response:
        assert response.status == 415
