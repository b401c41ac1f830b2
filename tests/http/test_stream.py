"""POST /v1/chat/completions, streamed: the raw bytes as snapshots, and when a stream begins."""

import asyncio
import json

import pytest

from gaia_core import Agent, ApprovalPolicy, Context, Limits, ToolError, Toolset, call, tool
from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.messages import AssistantMessage, Usage
from gaia_core.models import Finished, ModelError
from gaia_http import Settings

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@tool(effects="read")
async def add(ctx: Context[None], a: int, b: int) -> int:
    """Add two numbers."""
    ctx.progress("adding")
    if a < 0:
        raise ToolError("no negative numbers")
    return a + b


@tool(effects="write")
async def save() -> None:
    """Save."""


TOOLS = Toolset("tools", (add, save))
ADDER = Agent("a", tools=TOOLS)


class Breaking:
    """A model that says something, and breaks when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def stream(self, request):
        yield (TextDelta("Hel"),)
        await self.go.wait()
        raise ModelError("broken_stream", "the endpoint hung up")


@pytest.fixture
def breaking() -> Breaking:
    return Breaking()


# What is written.


async def test_words(serve, snapshot):
    server = await serve("Hello there")

    assert await server.stream() == snapshot


async def test_reasoning(serve, snapshot):
    server = await serve((ReasoningDelta("Hm. "), ReasoningDelta("Yes."), TextDelta("Hello"), Finished("stop")))

    assert await server.stream() == snapshot


async def test_usage_when_asked_for(serve, snapshot):
    server = await serve((TextDelta("Hello"), Finished("stop", Usage(5, 7, 3, 2))))

    assert await server.stream(stream_options={"include_usage": True}) == snapshot


async def test_the_agents_own_tools(serve, snapshot):
    server = await serve(
        AssistantMessage("Let me see.", (call("add", a=1, b=2), call("add", a=-1, b=2)), reasoning_content="Hm"),
        "It is 3",
        agents=(ADDER,),
    )

    assert await server.stream() == snapshot


async def test_the_agents_own_tools_without_lines(serve, snapshot):
    server = await serve(call("add", a=1, b=2), "It is 3", agents=(ADDER,), settings=Settings(show_activity="off"))

    assert await server.stream() == snapshot


async def test_a_call_that_nobody_can_approve(serve, snapshot):
    agent = Agent("a", tools=TOOLS, approvals=ApprovalPolicy(effects={"write"}))
    server = await serve(call("save"), "I may not", agents=(agent,))

    assert await server.stream() == snapshot


async def test_a_limit(serve, snapshot):
    server = await serve(call("add", a=1, b=2), agents=(Agent("a", tools=TOOLS, limits=Limits(steps=1)),))

    assert await server.stream() == snapshot


async def test_a_clients_tool(serve, snapshot):
    server = await serve((call("weather", city="Ulm"), call("weather", city="Bonn")))

    assert await server.stream(tools=[WEATHER]) == snapshot


async def test_a_clients_tool_after_the_agents_own(serve, snapshot):
    server = await serve(call("add", a=1, b=2), call("weather", city="Ulm"), agents=(ADDER,))

    assert await server.stream(tools=[WEATHER]) == snapshot


async def test_a_sub_agent(serve, snapshot):
    boss = Agent("a", tools=Toolset("team", (Agent("adder", tools=TOOLS).as_tool(),)))
    server = await serve(call("adder", task="1 + 2?"), call("add", a=1, b=2), "3", "It is 3", agents=(boss,))

    assert await server.stream() == snapshot


async def test_an_error_in_the_middle(serve, body, breaking, normal, snapshot):
    server = await serve(model=breaking)

    async with server.http.post("/v1/chat/completions", json=body(stream=True)) as response:
        told = [await response.content.readuntil(b"\n\n"), await response.content.readuntil(b"\n\n")]
        breaking.go.set()
        told.append(await response.read())

    assert [normal(part.decode()) for part in told] == snapshot


async def test_nothing_at_all(serve, snapshot):
    server = await serve("")

    assert await server.stream() == snapshot


# What holds of every stream.


def chunks(text: str) -> list[dict]:
    """The JSON of each event but [DONE], which must be the last."""
    *events, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events if not event.startswith(":")]


async def test_every_chunk_is_of_one_completion_and_has_a_choice(serve):
    server = await serve(call("add", a=1, b=2), "It is 3", agents=(ADDER,))

    told = chunks(await server.stream())

    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["system_fingerprint"]) for chunk in told}) == 1
    assert all(len(chunk["choices"]) == 1 for chunk in told)
    assert [chunk["choices"][0]["finish_reason"] for chunk in told if chunk["choices"][0]["finish_reason"]] == ["stop"]
    assert told[0]["choices"][0]["delta"]["role"] == "assistant"
    assert not any("tool_calls" in chunk["choices"][0]["delta"] for chunk in told)


async def test_streamed_and_whole_answers_have_the_same_text(serve, body):
    script = (AssistantMessage("Let me see.", (call("add", a=1, b=2),)), "It is 3")
    server = await serve(*script, *script, agents=(ADDER,))

    streamed = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks(await server.stream()))
    _, _, whole = await server.post(body())

    assert streamed == whole["choices"][0]["message"]["content"] == "Let me see.\n\nIt is 3"


async def test_surrogates_of_a_model_do_not_break_a_stream(serve):
    server = await serve((TextDelta("a\ud83d\ude00b\ud800c"), Finished("stop", Usage())))

    told = chunks(await server.stream())

    assert told[1]["choices"][0]["delta"]["content"] == "a\N{GRINNING FACE}b�c"


async def test_what_arrives_together_is_one_write_and_one_chunk(serve, upstream):
    model = upstream(TextDelta("a"), TextDelta("b"), ReasoningDelta("c"), TextDelta("d"))
    server = await serve(model=model)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = json.dumps({"model": "a", "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.0\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body))
    writer.write(body)

    await reader.readuntil(b"\r\n\r\n")
    # Each write is one part of the chunked body: its size in a line, then its bytes.
    first = await reader.readexactly(int(await reader.readline(), 16))
    writer.close()
    await writer.wait_closed()

    assert [
        chunk["choices"][0]["delta"] for chunk in (json.loads(e[6:]) for e in first.decode().split("\n\n") if e)
    ] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "ab"},
        {"reasoning_content": "c"},
        {"content": "d"},
    ]


async def test_the_official_sdk_takes_it(serve):
    server = await serve(call("add", a=1, b=2), "It is 3", agents=(ADDER,))

    async with server.sdk() as client:
        text = usage = None
        async with client.chat.completions.stream(
            model="a", messages=[{"role": "user", "content": "1+2?"}], stream_options={"include_usage": True}
        ) as stream:
            async for event in stream:
                if event.type == "content.done":
                    text = event.content
            final = await stream.get_final_completion()
            usage = final.usage

    assert text == final.choices[0].message.content == "It is 3"
    assert usage.total_tokens > 0


async def test_an_error_in_a_stream_raises_in_the_official_sdk(serve, breaking):
    import openai

    server = await serve(model=breaking)

    async with server.sdk() as client:
        stream = await client.chat.completions.create(
            model="a", messages=[{"role": "user", "content": "x"}], stream=True
        )
        with pytest.raises(openai.APIError, match="the endpoint hung up"):
            [breaking.go.set() async for _ in stream]


# When it begins.


async def test_a_turn_that_fails_at_once_is_answered_by_its_status(serve, body):
    def answer(request):
        raise ModelError("not_ready", "the model is loading", retry_after=3)

    from gaia_core import ScriptedModel

    server = await serve(ScriptedModel(answer))

    status, headers, answer = await server.post(body(stream=True))

    assert (status, headers["retry-after"], answer["error"]["code"]) == (503, "3", "model_not_ready")


async def test_an_idle_stream_gets_comments_and_begins_with_one(serve, body, upstream):
    model = upstream(None)
    server = await serve(model=model, settings=Settings(heartbeat_seconds=0.01))

    async with server.http.post("/v1/chat/completions", json=body(stream=True)) as response:
        assert response.status == 200  # though the model has said nothing
        first = await response.content.readuntil(b"\n\n")
        second = await response.content.readuntil(b"\n\n")
        model.go.set()
        rest = await response.text()

    assert first == second == b": still here\n\n"
    assert rest.endswith("data: [DONE]\n\n")


async def test_a_turn_that_fails_after_a_heartbeat_says_so_in_the_stream(serve, body):
    class Model:
        def __init__(self):
            self.go = asyncio.Event()

        async def stream(self, request):
            await self.go.wait()
            raise ModelError("server", "it broke")
            yield ()

    model = Model()
    server = await serve(model=model, settings=Settings(heartbeat_seconds=0.01))

    async with server.http.post("/v1/chat/completions", json=body(stream=True)) as response:
        await response.content.readuntil(b"\n\n")
        model.go.set()
        rest = await response.text()

    events = [event for event in rest.split("\n\n") if event and not event.startswith(":")]
    assert events == [
        'data: {"error":{"message":"it broke","type":"server_error","param":null,"code":"model_server"}}',
        "data: [DONE]",
    ]


async def test_many_streams_at_once_get_each_its_own_answer(serve, body):
    from gaia_core import ScriptedModel
    from gaia_core.messages import text_of

    gate = asyncio.Event()
    asked = 0

    async def answer(request):
        nonlocal asked
        asked += 1
        if asked == 50:
            gate.set()
        await gate.wait()  # all are open at once
        say = text_of(request.messages[-1].content)
        for word in range(10):
            yield TextDelta(f"{say}.{word} ")
            await asyncio.sleep(0)

    server = await serve(ScriptedModel(answer))

    async def ask(number: int) -> str:
        text = await server.stream(say=f"n{number}")
        return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks(text))

    answers = await asyncio.gather(*(ask(number) for number in range(50)))

    assert answers == [" ".join(f"n{n}.{word}" for word in range(10)) + " " for n in range(50)]
