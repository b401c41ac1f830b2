"""Lanes of a WebSocket (`stream_id`), and what is said to a response that runs (`response.steer`)."""

import asyncio
import json

import pytest
from openai.types.responses import ResponsesServerEvent
from pydantic import TypeAdapter

from gaia_core import ScriptedModel
from gaia_core.events import TextDelta
from gaia_core.messages import UserMessage, text_of
from gaia_core.models import Finished, ModelError, ToolCallDelta

_EVENT = TypeAdapter(ResponsesServerEvent)
_ENDS = ("response.completed", "response.failed", "response.incomplete")
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}


class Socket:
    """A client on one connection, which checks each event by the SDK's types."""

    def __init__(self, connection) -> None:
        self.connection = connection
        self.events: list[dict] = []

    async def send(self, kind: str = "response.create", **fields: object) -> None:
        model = {"model": "a"} if kind == "response.create" else {}
        await self.connection.send_str(json.dumps({"type": kind, **model, **fields}))

    async def hear(self, *kinds: str) -> dict:
        """The next event of one of the *kinds*."""
        while True:
            event = json.loads(await self.connection.receive_str(timeout=20))
            _EVENT.validate_python(event)
            self.events.append(event)
            if event["type"] in kinds:
                return event


class Slow:
    """A model that begins to answer, and ends when the test says so; with *calls* or with words."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: list[list[str]] = []

    async def stream(self, request):
        said = [text_of(message.content) for message in request.messages if isinstance(message, UserMessage)]
        self.asked.append(said)
        yield (TextDelta(f"To {said[-1]} "),)
        if said[-1] == "wait":
            await self.go.wait()
        if said[-1] == "wait and fail":
            await self.go.wait()
            raise ModelError("server", "no")
        yield (TextDelta("I say yes."), Finished("stop"))


@pytest.fixture
async def connected(serve):
    """A server, and a `Socket` to it."""

    async def connected(*answers: object, **options: object):
        server = await serve(*answers, **options)
        return server, Socket(await server.http.ws_connect("/v1/responses"))

    return connected


# Lanes.


async def test_lanes_run_at_once_and_each_event_says_whose_it_is(connected, check):
    model = Slow()
    _, socket = await connected(model=model)
    await socket.send(input="wait", stream_id="one")
    await socket.hear("response.output_text.delta")
    await socket.send(input="quick", stream_id="two")

    assert (await socket.hear(*_ENDS))["stream_id"] == "two"
    model.go.set()
    assert (await socket.hear(*_ENDS))["stream_id"] == "one"

    for lane in ("one", "two"):
        check([event for event in socket.events if event["stream_id"] == lane])


async def test_a_lane_answers_in_order_and_one_may_go_on_from_another(connected):
    model = Slow()
    _, socket = await connected(model=model)
    await socket.send(input="1", stream_id="one", store=False)
    first = (await socket.hear(*_ENDS))["response"]["id"]
    for say in ("2", "3"):
        await socket.send(input=say, stream_id="two", previous_response_id=first, store=False)
    ends = [await socket.hear(*_ENDS) for _ in range(2)]

    assert [event["stream_id"] for event in ends] == ["two", "two"]
    assert model.asked == [["1"], ["1", "2"], ["1", "3"]]


async def test_an_error_says_its_lane_and_without_one_there_is_none(connected):
    _, socket = await connected("ok")
    await socket.send(model="nobody", input="x", stream_id="one")
    refused = await socket.hear("error")
    await socket.send(input="x")
    await socket.hear(*_ENDS)

    assert (refused["stream_id"], refused["error"]["code"]) == ("one", "model_not_found")
    assert all("stream_id" not in event for event in socket.events[1:])


async def test_lanes_are_bounded_and_those_at_rest_make_room(connected, upstream):
    server, socket = await connected(*["ok"] * 40)
    for n in range(40):
        await socket.send(input="x", stream_id=str(n))
        await socket.hear(*_ENDS)
    model = upstream()
    _, busy = await connected(model=model)
    for n in range(17):
        await busy.send(input="x", stream_id=str(n))

    with pytest.raises(TypeError, match="1008"):
        await busy.hear(*_ENDS)
    assert busy.connection.close_code == 1008
    async with asyncio.timeout(20):
        while model.connected:
            await asyncio.sleep(0.001)
    assert len(server.model.requests) == 40


# Steering.


@pytest.mark.parametrize("store", [True, False])
async def test_what_is_said_meanwhile_goes_into_the_next_response_by_itself(connected, store, check):
    model = Slow()
    _, socket = await connected(model=model)
    await socket.send(input="wait", stream_id="one", store=store, instructions="Rhyme.", metadata={"k": "v"})
    running = (await socket.hear("response.created"))["response"]["id"]
    await socket.hear("response.output_text.delta")
    parts = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "two"}]}]
    for said in ("one", parts):
        await socket.send("response.steer", previous_response_id=running, input=said)
        accepted = await socket.hear("response.steer.accepted")
        assert (accepted["steer"]["previous_response_id"], accepted["stream_id"]) == (running, "one")
    model.go.set()
    await socket.hear("response.completed")
    following = (await socket.hear("response.completed"))["response"]

    assert model.asked == [["wait"], ["wait", "one\n\ntwo"]]
    assert (following["previous_response_id"], following["instructions"]) == (running, "Rhyme.")
    assert following["metadata"] == {"k": "v"}
    told = [event for event in socket.events if not event["type"].startswith("response.steer")]
    second = next(n for n, event in enumerate(told) if n and event["type"] == "response.created")
    check(told[:second])
    check(told[second:])


async def test_what_is_said_waits_with_a_response_that_waits_for_its_client(connected):
    model = Slow()

    async def answer(request):
        if len(request.messages) == 1:
            yield TextDelta("I look. ")
            await model.go.wait()
            yield ToolCallDelta(0, "c1", "look", "{}")
            yield Finished("tool_calls")
        else:
            yield TextDelta("Seen")
            yield Finished("stop")

    server, socket = await connected(ScriptedModel(answer))
    await socket.send(input="Look", tools=[LOOK])
    running = (await socket.hear("response.created"))["response"]["id"]
    await socket.send("response.steer", previous_response_id=running, input="Hurry")
    accepted = await socket.hear("response.steer.accepted")
    model.go.set()
    await socket.hear("response.completed")
    waits = await socket.hear("response.steer.pending")
    (stub,) = waits["required_input"]
    await socket.send(input=[{**stub, "output": "a cat"}], previous_response_id=running, tools=[LOOK])
    await socket.hear("response.completed")

    assert waits["steer"] == accepted["steer"]
    assert (stub["type"], stub["name"]) == ("function_call_output", "look")
    contents = [message.content for message in server.model.requests[1].messages[2:]]
    assert contents == ["a cat", "[No answer yet.]", "Hurry"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([{"role": "assistant", "content": "x"}], "invalid_input"),
        ([{"type": "function_call_output", "call_id": "c", "output": "x"}], "invalid_input"),
        ([{"role": "user", "content": [{"type": "output_text", "text": "x"}]}], "invalid_input"),
        ([], "invalid_input"),
        (5, "invalid_input"),
    ],
)
async def test_what_can_not_be_said_comes_back(connected, said, code):
    model = Slow()
    _, socket = await connected(model=model)
    await socket.send(input="wait")
    running = (await socket.hear("response.created"))["response"]["id"]
    await socket.connection.send_str(
        json.dumps({"type": "response.steer", "previous_response_id": running, "input": said})
    )
    while (event := json.loads(await socket.connection.receive_str(timeout=20)))["type"] != "response.steer.failed":
        pass
    model.go.set()
    await socket.hear("response.completed")

    assert (event["error"]["code"], event["steer"]) == (code, {"input": said, "previous_response_id": running})
    assert len(model.asked) == 1


async def test_nothing_is_said_to_a_response_that_has_ended_is_elsewhere_or_in_a_conversation(connected):
    model = Slow()
    server, socket = await connected(model=model)
    async with server.sdk() as client:
        conversation = await client.conversations.create()
    await socket.send(input="1")
    ended = (await socket.hear("response.completed"))["response"]["id"]
    await socket.send(input="wait", conversation=conversation.id)
    running = (await socket.hear("response.created"))["response"]["id"]

    codes = []
    for target in (ended, "resp_nowhere", running):
        await socket.send("response.steer", previous_response_id=target, input="x")
        codes.append((await socket.hear("response.steer.failed"))["error"]["code"])
    model.go.set()

    assert codes == ["response_already_completed", "response_not_found", "steering_not_supported"]


async def test_what_was_said_comes_back_when_the_response_fails_and_too_much_is_refused(connected):
    model = Slow()
    _, socket = await connected(model=model)
    await socket.send(input="wait and fail")
    running = (await socket.hear("response.created"))["response"]["id"]
    for n in range(9):
        await socket.send("response.steer", previous_response_id=running, input=str(n))
    refused = await socket.hear("response.steer.failed")
    model.go.set()
    await socket.hear("response.failed")
    back = [await socket.hear("response.steer.failed") for _ in range(8)]
    await socket.send(input="again")

    assert (refused["error"]["code"], refused["steer"]["input"]) == ("too_many_pending_steers", "8")
    assert [event["steer"]["input"] for event in back] == [str(n) for n in range(8)]
    assert {event["error"]["code"] for event in back} == {"response_not_active"}
    assert (await socket.hear(*_ENDS))["type"] == "response.completed"


async def test_the_sdk_steers(serve):
    model = Slow()
    server = await serve(model=model)
    async with server.sdk() as client, client.responses.connect() as connection:
        await connection.response.create(model="a", input="wait")
        texts = []
        async with asyncio.timeout(20):
            async for event in connection:
                if event.type == "response.created" and not texts:
                    await connection.response.steer(previous_response_id=event.response.id, input="now")
                elif event.type == "response.steer.accepted":
                    model.go.set()
                elif event.type == "response.completed":
                    texts.append(event.response.output_text)
                    if len(texts) == 2:
                        break

    assert texts == ["To wait I say yes.", "To now I say yes."]
