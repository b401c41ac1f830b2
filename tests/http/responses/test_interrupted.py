"""A response whose server stops in the middle of a step: one text, numbers that never mean two things, and an end."""

import asyncio
import json

import openai
import pytest

from gaia_core import Agent, Context, ScriptedModel, Toolset, tool
from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.messages import ToolMessage
from gaia_core.models import Finished, ModelError, ToolCallDelta
from gaia_core.runtime import _turn_runner
from gaia_http.openai.responses.output._response_events import RETIRED

LOST = "The first server said so many words that nobody could count them all, "
SHORT = "Short."
LONG = "The second server said even more of them, and it took its time for all of the words, one by one, to the end."


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


PLAIN = Agent("a")
OWN = Agent("a", tools=Toolset("tools", (secret,)))


@pytest.fixture(name="serve")
def serve_(recorded):
    return recorded


def events_in(text: str) -> list[dict]:
    """The events of a raw stream that has ended as the API's streams end."""
    assert text.endswith("data: [DONE]\n\n")
    return [json.loads(frame.partition("\ndata: ")[2]) for frame in text.split("\n\n")[:-2] if frame[0] != ":"]


async def told(server, response_id: str, **query: object) -> list[dict]:
    async with server.http.get(f"/v1/responses/{response_id}", params={"stream": "true", **query}) as reply:
        text = await reply.text()
        assert reply.status == 200, text
        return events_in(text)


def text_in(events: list[dict]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


class Stops:
    """A server that stops while it sends a response in background, and what its client had by then."""

    def __init__(self, serve, upstream) -> None:
        self.serve = serve
        self.upstream = upstream
        self.seen: list[dict] = []

    async def begin(self, *, first: object = None, agents=(PLAIN,), **fields: object):
        """Begin a response, and read until the client has some of the text; the server."""
        model = first or self.upstream(TextDelta(LOST))
        server = await self.serve(model=model, agents=agents)
        body = {"model": "a", "input": "Hi", "background": True, "stream": True, **fields}
        async with server.http.post("/v1/responses", json=body) as reply:
            rest = b""
            while "could" not in text_in(self.seen):
                *frames, rest = (rest + await reply.content.readany()).split(b"\n\n")
                self.seen += [json.loads(frame.partition(b"\ndata: ")[2]) for frame in frames]
        return server

    @property
    def id(self) -> str:
        return self.seen[0]["response"]["id"]

    @property
    def number(self) -> int:
        return self.seen[-1]["sequence_number"]

    @property
    def valid(self) -> int:
        """The last number before the interrupted step."""
        return next(e["sequence_number"] for e in self.seen if e["type"] == "response.output_item.added") - 1


@pytest.fixture
def stops(serve, upstream) -> Stops:
    return Stops(serve, upstream)


@pytest.mark.parametrize("answer", [SHORT, LONG])
async def test_a_reader_with_some_of_the_interrupted_step_gets_an_error_and_no_second_text(stops, answer):
    await (await stops.begin()).stop()
    server = await stops.serve(answer)

    (error,) = await told(server, stops.id, starting_after=stops.number)

    assert (error["type"], error["code"], error["param"]) == ("error", "step_interrupted", "starting_after")
    assert error["error"]["code"] == error["code"]
    assert f"after number {stops.valid} are void" in error["message"]
    assert f"starting_after={error['sequence_number']}" in error["message"]


@pytest.mark.parametrize("answer", [SHORT, LONG])
async def test_each_way_out_that_the_error_names_gives_the_stored_answer(stops, answer):
    await (await stops.begin()).stop()
    server = await stops.serve(answer)
    (error,) = await told(server, stops.id, starting_after=stops.number)

    again = await told(server, stops.id)
    rest = await told(server, stops.id, starting_after=error["sequence_number"])

    assert text_in(again) == text_in(rest) == answer
    assert again[-1] == rest[-1]
    assert again[-1]["response"]["output"][0]["content"][0]["text"] == answer
    assert [event for event in stops.seen if event["sequence_number"] <= stops.valid] + rest == again


@pytest.mark.parametrize("answer", [SHORT, LONG])
async def test_no_number_stands_for_an_event_of_both_steps(stops, answer):
    await (await stops.begin()).stop()
    server = await stops.serve(answer)

    again = {event["sequence_number"]: event for event in await told(server, stops.id)}

    both = [event for event in stops.seen if event["sequence_number"] in again]
    assert both == [again[event["sequence_number"]] for event in both]
    assert max(again) > RETIRED


async def test_a_reader_that_has_only_what_is_recorded_continues(stops):
    async def first(request):
        if not isinstance(request.messages[-1], ToolMessage):
            yield ToolCallDelta(0, "call_1", "secret", "{}")
            yield Finished("tool_calls")
            return
        yield TextDelta(LOST)
        await asyncio.Event().wait()

    await (await stops.begin(first=ScriptedModel(first), agents=(OWN,))).stop()
    server = await stops.serve(SHORT, agents=(OWN,))
    recorded = next(n for n, e in enumerate(stops.seen) if e["type"] == "response.output_item.done")

    whole = await told(server, stops.id)
    for after in range(recorded + 1):
        rest = await told(server, stops.id, starting_after=after)
        assert stops.seen[: after + 1] + rest == whole
        assert rest[-1]["type"] == "response.completed"


async def test_the_official_client_raises_and_then_gets_the_whole_answer(stops):
    await (await stops.begin()).stop()
    server = await stops.serve(SHORT)
    async with server.sdk() as client:
        resumed = await client.responses.retrieve(stops.id, stream=True, starting_after=stops.number)
        with pytest.raises(openai.APIError, match="starting_after") as raised:
            _ = [event async for event in resumed]
        again = [event async for event in await client.responses.retrieve(stops.id, stream=True)]
        async with client.responses.stream(response_id=stops.id, starting_after=stops.number) as helper:
            final = await helper.get_final_response()
        retrieved = await client.responses.retrieve(stops.id)

    assert raised.value.code == "step_interrupted"
    assert again[-1].response.output_text == final.output_text == retrieved.output_text == SHORT


@pytest.mark.parametrize("follows", ["recorded", "live"])
async def test_a_reader_at_another_server_that_takes_the_turn_over(stops, follows):
    """Who only had the record goes on with the new step; who had the old one's text gets the error."""
    runs = await stops.begin()
    takes = await stops.serve(LONG)
    after = {} if follows == "recorded" else {"starting_after": stops.number}
    reading = asyncio.create_task(told(takes, stops.id, **after))
    await takes.runtime.journal.adopt((runs.runtime.replica,))
    await takes.runtime.resume(await takes.runtime.sessions.get("", runs.runtime.running_turns[0][0][1]))
    events = await reading

    if follows == "recorded":
        assert text_in(events) == LONG
        assert events[-1]["type"] == "response.completed"
    else:
        assert [event["code"] for event in events] == ["step_interrupted"]


async def test_a_reader_at_the_server_that_lost_the_turn(stops, upstream):
    """Its server learns late that another one has the turn: the reader's stream ends with `step_interrupted`."""
    model = upstream(TextDelta(LOST))
    loses = await stops.begin(first=model)
    takes = await stops.serve(LONG)
    async with loses.http.get(f"/v1/responses/{stops.id}", params={"stream": "true"}) as reply:
        await reply.content.readuntil(b"could")
        await takes.runtime.journal.adopt((loses.runtime.replica,))
        await takes.runtime.resume(await takes.runtime.sessions.get("", loses.runtime.running_turns[0][0][1]))
        model.go.set()
        rest = await reply.text()

    assert '"code":"step_interrupted"' in rest
    assert "response.completed" not in rest
    assert text_in(await told(loses, stops.id)) == LONG


async def test_two_interruptions_retire_two_ranges(stops, upstream):
    await (await stops.begin()).stop()
    second = upstream(TextDelta(LOST))
    server = await stops.serve(model=second)
    await second.began.wait()
    seen = []
    async with server.http.get(f"/v1/responses/{stops.id}", params={"stream": "true"}) as reply:
        rest = b""
        while "could" not in text_in(seen):
            *frames, rest = (rest + await reply.content.readany()).split(b"\n\n")
            seen += [json.loads(frame.partition(b"\ndata: ")[2]) for frame in frames]
    await server.stop()
    server = await stops.serve(SHORT)

    for number in (stops.number, seen[-1]["sequence_number"]):
        (error,) = await told(server, stops.id, starting_after=number)
        assert error["code"] == "step_interrupted"
    assert text_in(await told(server, stops.id)) == SHORT


async def test_a_response_of_a_conversation(stops):
    server = await stops.serve("One")
    async with server.http.post("/v1/conversations", json={}) as reply:
        conversation = (await reply.json())["id"]
    await server.stop()
    await (await stops.begin(conversation=conversation)).stop()
    server = await stops.serve(SHORT)

    (error,) = await told(server, stops.id, starting_after=stops.number)
    again = await told(server, stops.id)
    async with server.http.get(f"/v1/conversations/{conversation}/items") as reply:
        items = (await reply.json())["data"]

    assert error["code"] == "step_interrupted"
    assert text_in(again) == SHORT
    assert [item["content"][0]["text"] for item in items if item["role"] == "assistant"] == [SHORT]


# The ends of a resume.


async def test_a_number_beyond_the_end_is_refused(serve, ask):
    server = await serve("Hello")
    _, response = await ask(server)
    last = (await told(server, response["id"]))[-1]["sequence_number"]

    assert await told(server, response["id"], starting_after=last) == []
    query = {"stream": "true", "starting_after": last + 1}
    async with server.http.get(f"/v1/responses/{response['id']}", params=query) as reply:
        error = (await reply.json())["error"]
    assert (reply.status, error["param"]) == (400, "starting_after")
    assert f"number {last}" in error["message"]


async def test_a_number_beyond_the_end_of_a_running_response_is_refused_at_its_end(serve, ask, upstream):
    model = upstream(TextDelta("Hello out there, "))
    server = await serve(model=model)
    _, queued = await ask(server, background=True)
    await model.began.wait()
    query = {"stream": "true", "starting_after": 4711}
    async with server.http.get(f"/v1/responses/{queued['id']}", params=query) as reply:
        model.go.set()
        (error,) = events_in(await reply.text())

    assert (error["type"], error["code"]) == ("error", "invalid_value")
    assert "4711 is beyond" in error["message"]


async def test_a_failed_response_ends_a_resume_with_its_failure(serve):
    async def fails(_request):
        yield TextDelta("Hello out there, ")
        raise ModelError("bad_request", "it broke")

    server = await serve(ScriptedModel(fails))
    body = {"model": "a", "input": "Hi", "background": True, "stream": True}
    async with server.http.post("/v1/responses", json=body) as reply:
        live = events_in(await reply.text())
    await server.stop()
    server = await serve()

    for number in range(len(live)):
        assert await told(server, live[0]["response"]["id"], starting_after=number) == live[number + 1 :]
    assert [event["type"] for event in live[-2:]] == ["response.failed", "error"]


async def test_a_response_that_was_cancelled_after_an_interruption_ends_a_resume(stops, upstream):
    await (await stops.begin()).stop()
    second = upstream(TextDelta("Again "))
    server = await stops.serve(model=second)
    await second.began.wait()
    async with server.http.post(f"/v1/responses/{stops.id}/cancel") as reply:
        assert (await reply.json())["status"] == "cancelled"

    (error,) = await told(server, stops.id, starting_after=stops.number)
    rest = await told(server, stops.id, starting_after=stops.valid)

    assert error["code"] == "step_interrupted"
    assert rest[-1]["type"] == "response.failed"
    assert rest[-1]["response"]["status"] == "cancelled"


@pytest.mark.parametrize("why", ["takeovers", "its agent has gone"])
async def test_a_response_that_is_given_up_ends_a_resume(stops, why, monkeypatch):
    """What its reader has of the interrupted step is void, though no other step follows."""
    await (await stops.begin()).stop()
    if why == "takeovers":
        monkeypatch.setattr(_turn_runner, "TAKEOVERS", -1)
    server = await stops.serve(agents=(PLAIN if why == "takeovers" else Agent("other"),))
    whole = await told(server, stops.id)

    (error,) = await told(server, stops.id, starting_after=stops.number)
    rest = await told(server, stops.id, starting_after=error["sequence_number"])

    assert error["code"] == "step_interrupted"
    assert [event for event in stops.seen if event["sequence_number"] <= stops.valid] + rest == whole
    assert [event["type"] for event in rest[-2:]] == ["response.failed", "error"]


# Within one process.


@pytest.mark.parametrize(
    "deltas",
    [
        (ReasoningDelta("Hm. "), TextDelta("Well, "), ReasoningDelta("What else? "), TextDelta("it is so.")),
        (TextDelta("\n"), ReasoningDelta("Hm, what is it? "), TextDelta("It is so.")),
    ],
)
async def test_reasoning_in_the_middle_of_the_text_is_told_again_as_it_was(serve, deltas):
    server = await serve((*deltas, Finished("stop")))
    body = {"model": "a", "input": "Hi", "stream": True}
    async with server.http.post("/v1/responses", json=body) as reply:
        live = events_in(await reply.text())

    assert await told(server, live[0]["response"]["id"]) == live


async def test_a_step_of_which_some_was_told_is_not_asked_again(serve):
    """Else the readers would have the beginnings of both answers, one behind the other."""
    asked = []

    async def overflows(request):
        asked.append(request)
        yield TextDelta("Half an answer, ")
        raise ModelError("context_length", "the context is full", window=8_000, prompt_tokens=7_000)

    server = await serve(ScriptedModel(overflows))
    body = {"model": "a", "input": "Hi", "stream": True, "background": True}
    async with server.http.post("/v1/responses", json=body) as reply:
        live = events_in(await reply.text())

    assert len(asked) == 1
    assert text_in(live) == "Half an answer, "
    assert live[-2]["type"] == "response.failed"
