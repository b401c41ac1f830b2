"""Stored responses: told again, gone on with, deleted, cancelled; after a restart, and never to another caller."""

import asyncio
import json

import pytest

from gaia_core import Agent, Context, ScriptedModel, Toolset, call, tool
from gaia_core.errors import JournalError
from gaia_core.events import TextDelta
from gaia_core.journal import MemoryJournal
from gaia_core.messages import AssistantMessage
from gaia_core.models import Finished


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


@tool(effects="write", approval=True)
async def wipe(ctx: Context[None]) -> str:
    """Wipe it."""
    return "wiped"


OWN = Agent("a", tools=Toolset("tools", (secret,)))
SCRIPT = (
    AssistantMessage("I look it up, wait.", (call("secret"),), reasoning_content="Hm, where is it?"),
    "The secret is, as everybody knows, 42.",
)


@pytest.fixture(name="serve")
def serve_(recorded):
    return recorded


async def get(server, path: str, **query: object):
    async with server.http.get(f"/v1/responses/{path}", params=query) as reply:
        return reply.status, await reply.json()


async def told_again(server, response_id: str, **query: object) -> str:
    async with server.http.get(f"/v1/responses/{response_id}", params={"stream": "true", **query}) as reply:
        assert reply.status == 200
        return await reply.text()


async def raw(server, **fields: object) -> str:
    async with server.http.post("/v1/responses", json={"model": "a", "input": "Hi", "stream": True, **fields}) as reply:
        return await reply.text()


def last_of(text: str) -> dict:
    """The last event of a stream."""
    return json.loads(text.split("\n\n")[-3].partition("\ndata: ")[2])


def last(text: str) -> dict:
    """The response of a stream's last event."""
    return json.loads(text.split("\n\n")[-3].partition("\ndata: ")[2])["response"]


# Told again.


async def test_a_stream_is_told_again_byte_for_byte_from_anywhere(serve):
    server = await serve(*SCRIPT, agents=(OWN,))
    text = await raw(server)
    response_id = last(text)["id"]
    frames = text.split("\n\n")

    assert await told_again(server, response_id) == text
    for after in range(len(frames) - 2):
        again = await told_again(server, response_id, starting_after=after)
        assert again == "\n\n".join(frames[after + 1 :])


async def test_a_restart_changes_no_byte(serve):
    server = await serve(*SCRIPT, agents=(OWN,))
    text = await raw(server, background=True, metadata={"k": "v"})
    response = last(text)
    await server.stop()

    server = await serve(agents=(OWN,))

    assert await told_again(server, response["id"]) == text
    assert await get(server, response["id"]) == (200, response)


async def test_a_reader_may_come_in_the_middle_and_gets_what_the_first_one_got(serve, upstream):
    model = upstream(TextDelta("Hello out there, "))
    server = await serve(model=model)
    first = asyncio.create_task(raw(server, background=True))
    await model.began.wait()
    ((key, _),) = server.runtime.running_turns
    assert key[0] == ""
    turn = server.runtime.running_turns[0][1]
    response_id = f"resp_{turn.id.removeprefix('turn_')}000{turn.session_id}"
    second = asyncio.create_task(told_again(server, response_id, starting_after=1))
    model.go.set()

    text = await first
    assert await second == "\n\n".join(text.split("\n\n")[2:])


async def test_a_response_that_was_not_stored_is_not_there(serve, ask):
    server = await serve("Hi")

    _, response = await ask(server, store=False)

    assert response["store"] is False
    assert (await get(server, response["id"]))[0] == 404


@pytest.mark.parametrize("id", ["resp_", "resp_x", "nope", "resp_" + "0" * 67, "resp_" + "0" * 35 + "xaGk"])
async def test_what_is_no_response_is_a_404_in_the_envelope(serve, id):
    server = await serve()

    status, answer = await get(server, id)

    assert (status, answer["error"]["code"]) == (404, "not_found")


# Going on.


async def test_a_conversation_goes_on_in_one_session(serve, ask):
    server = await serve("One", "Two", "Three")

    _, first = await ask(server, "1")
    _, second = await ask(server, "2", previous_response_id=first["id"])
    _, third = await ask(server, "3", previous_response_id=second["id"])

    assert len({each["id"][-32:] for each in (first, second, third)}) == 1
    assert [each.content for each in server.model.requests[2].messages] == ["1", "One", "2", "Two", "3"]
    assert third["previous_response_id"] == second["id"]


async def test_one_response_may_be_gone_on_with_many_times_at_once(serve, ask):
    server = await serve(model=ScriptedModel(lambda request: f"to {request.messages[-1].content}"))
    _, first = await ask(server, "begin")

    answers = await asyncio.gather(
        *(ask(server, str(n), previous_response_id=first["id"]) for n in range(5)),
    )
    await ask(server, "later", previous_response_id=answers[3][1]["id"])

    assert [each["output"][0]["content"][0]["text"] for _, each in answers] == [f"to {n}" for n in range(5)]
    assert all(len(request.messages) == 3 for request in server.model.requests[1:6])
    assert [each.content for each in server.model.requests[6].messages] == ["begin", "to begin", "3", "to 3", "later"]
    for _, each in answers:
        assert await get(server, each["id"]) == (200, each)


async def test_what_is_not_stored_may_go_on_with_what_is(serve, ask):
    server = await serve("One", "Two")
    _, first = await ask(server, "1")

    _, second = await ask(server, "2", previous_response_id=first["id"], store=False)

    assert [each.content for each in server.model.requests[1].messages] == ["1", "One", "2"]
    assert (await get(server, second["id"]))[0] == 404


async def test_a_conversation_goes_on_after_a_restart(serve, ask):
    server = await serve("One")
    _, first = await ask(server, "1")
    await server.stop()
    server = await serve("Two")

    status, second = await ask(server, "2", previous_response_id=first["id"])

    assert status == 200, second
    assert [each.content for each in server.model.requests[0].messages] == ["1", "One", "2"]


async def test_a_response_that_still_runs_is_not_gone_on_with(serve, ask, upstream):
    model = upstream()
    server = await serve(model=model)
    _, first = await ask(server, background=True)
    await model.began.wait()

    status, answer = await ask(server, previous_response_id=first["id"])

    assert (status, answer["error"]["code"]) == (400, "response_not_complete")
    model.go.set()


async def test_items_are_referred_to_by_id(serve, ask):
    server = await serve("One", "Two")
    _, first = await ask(server, "1")
    _, items = await get(server, f"{first['id']}/input_items")

    references = [{"type": "item_reference", "id": each["id"]} for each in (items["data"][0], first["output"][0])]
    status, answer = await ask(server, [*references, {"role": "user", "content": "2"}])

    assert status == 200, answer
    assert [each.content for each in server.model.requests[1].messages] == ["1", "One", "2"]
    _, asked = await get(server, f"{answer['id']}/input_items?order=asc")
    assert asked["data"][:2] == [items["data"][0], first["output"][0]]


async def test_a_session_header_is_echoed_and_gives_one_session(serve, ask):
    server = await serve("One", "Two")
    for say in ("1", "2"):
        async with server.http.post(
            "/v1/responses", json={"model": "a", "input": say}, headers={"x-session-id": "mine"}
        ) as reply:
            assert reply.headers["x-session-id"] == "mine"
            response = await reply.json()
            assert (await get(server, response["id"]))[1] == response

    assert [len(request.messages) for request in server.model.requests] == [1, 1]


# Input items.


async def test_input_items_come_in_pages(serve, ask):
    server = await serve("ok")
    items = [{"role": "user", "content": f"say {n}"} for n in range(5)]
    _, response = await ask(server, items)
    path = f"{response['id']}/input_items"

    _, newest = await get(server, path, limit=2)
    _, rest = await get(server, path, limit=4, after=newest["last_id"])
    _, oldest = await get(server, path, order="asc")
    status, refused = await get(server, path, order="sideways")

    def said(page):
        return [item["content"][0]["text"] for item in page["data"]]

    assert (said(newest), newest["has_more"]) == (["say 4", "say 3"], True)
    assert (said(rest), rest["has_more"]) == (["say 2", "say 1", "say 0"], False)
    assert said(oldest) == [f"say {n}" for n in range(5)]
    assert oldest["data"][0]["type"] == "message"
    assert (status, refused["error"]["param"]) == (400, "order")


# Background, cancel, delete.


async def test_background_answers_at_once_and_goes_on_by_itself(serve, ask, upstream, whole):
    model = upstream()
    server = await serve(model=model)

    status, queued = await ask(server, background=True)
    await model.began.wait()
    _, running = await get(server, queued["id"])
    model.go.set()
    await server.runtime.running_turns[0][1].result()
    _, completed = await get(server, queued["id"])

    assert (status, whole(queued)["status"], running["status"]) == (200, "queued", "in_progress")
    assert completed["status"] == "completed"
    assert completed["output"][0]["content"][0]["text"] == "partial"


async def test_cancel_ends_it_and_may_be_said_twice(serve, ask, upstream, whole):
    model = upstream()
    server = await serve(model=model)
    _, queued = await ask(server, background=True)
    await model.began.wait()

    async with server.http.post(f"/v1/responses/{queued['id']}/cancel") as reply:
        cancelled = await reply.json()
    assert model.connected == 0
    async with server.http.post(f"/v1/responses/{queued['id']}/cancel") as reply:
        assert await reply.json() == cancelled

    assert whole(cancelled)["status"] == "cancelled"
    assert cancelled["output"][0]["status"] == "incomplete"


async def test_only_background_is_cancelled(serve, ask):
    server = await serve("Hi")
    _, response = await ask(server)

    async with server.http.post(f"/v1/responses/{response['id']}/cancel") as reply:
        assert reply.status == 400


async def test_a_deleted_response_is_gone_and_so_is_its_session_with_the_last(serve, ask):
    server = await serve("One", "Two", "Three")
    _, first = await ask(server)
    _, second = await ask(server, previous_response_id=first["id"])

    async with server.http.delete(f"/v1/responses/{first['id']}") as reply:
        assert await reply.json() == {"id": first["id"], "object": "response", "deleted": True}
    assert (await get(server, first["id"]))[0] == 404
    assert (await ask(server, previous_response_id=first["id"]))[1]["error"]["code"] == "previous_response_not_found"
    assert (await get(server, second["id"]))[0] == 200
    assert (await server.runtime.sessions.totals()).sessions == 1

    async with server.http.delete(f"/v1/responses/{second['id']}") as reply:
        assert reply.status == 200
    async with server.http.delete(f"/v1/responses/{second['id']}") as reply:
        assert reply.status == 404
    assert (await server.runtime.sessions.totals()).sessions == 0


class DeletesLater(MemoryJournal):
    """Fails to delete a session, for the first time."""

    fails = True

    async def delete(self, owner, id):
        if self.fails:
            self.fails = False
            raise JournalError("the disk is full")
        await super().delete(owner, id)


async def test_a_response_whose_deletion_failed_can_be_deleted_again(serve, ask):
    server = await serve("One", journal=DeletesLater())
    _, response = await ask(server)

    async with server.http.delete(f"/v1/responses/{response['id']}") as reply:
        assert (reply.status, "retry-after" in reply.headers) == (503, True)
    assert (await get(server, response["id"]))[0] == 200
    assert await erased(server, response["id"]) == [0]


async def erased(server, *ids: str) -> list[int]:
    """Delete the responses; how many sessions there are after each."""
    left = []
    for response_id in ids:
        async with server.http.delete(f"/v1/responses/{response_id}") as reply:
            assert reply.status == 200
        left.append((await server.runtime.sessions.totals()).sessions)
    return left


async def test_a_session_that_shares_anothers_past_goes_with_its_own_responses(serve, ask):
    server = await serve("One", "Two", "Three")
    _, first = await ask(server)
    others = [(await ask(server, previous_response_id=first["id"]))[1]["id"] for _ in range(2)]

    assert await erased(server, first["id"], *others) == [2, 1, 0]


async def test_a_response_that_asked_for_approval_may_go_before_the_one_that_went_on(serve, ask):
    server = await serve(call("wipe"), "Wiped", agents=(Agent("a", tools=Toolset("tools", (wipe,))),))
    _, first = await ask(server)
    approval = {"type": "mcp_approval_response", "approval_request_id": first["output"][0]["id"], "approve": True}
    _, second = await ask(server, [approval], previous_response_id=first["id"])

    assert await erased(server, first["id"]) == [1]
    assert await get(server, second["id"]) == (200, second)
    assert await erased(server, second["id"]) == [0]


async def test_a_deleted_response_that_waits_for_approval_waits_no_more(serve, ask):
    server = await serve(call("wipe"), agents=(Agent("a", tools=Toolset("tools", (wipe,))),))
    _, waits = await ask(server)

    assert await erased(server, waits["id"]) == [0]
    assert server.runtime.running_turns == ()


async def test_a_deleted_response_that_runs_runs_no_more(serve, upstream):
    model = upstream()
    server = await serve(model=model)
    streamed = asyncio.create_task(raw(server))
    await model.began.wait()
    (_, running), *_ = server.runtime.running_turns

    assert await erased(server, f"resp_{running.id.removeprefix('turn_')}000{running.session_id}") == [0]
    assert last_of(await streamed)["type"] == "error"
    assert model.connected == 0


async def test_a_client_that_goes_takes_its_response_with_it(serve, upstream):
    model = upstream()
    server = await serve(model=model)
    body = {"model": "a", "input": "Hi", "stream": True}

    async with server.http.post("/v1/responses", json=body) as reply:
        await reply.content.readany()
    await model.closed.wait()

    assert model.connected == 0


async def test_background_survives_its_client(serve, upstream):
    model = upstream()
    server = await serve(model=model)
    body = {"model": "a", "input": "Hi", "stream": True, "background": True}

    async with server.http.post("/v1/responses", json=body) as reply:
        head = await reply.content.readany()
        await model.began.wait()
    response_id = json.loads(head.decode().split("\n")[1].removeprefix("data: "))["response"]["id"]
    turn = server.runtime.running_turns[0][1]
    model.go.set()
    await turn.result()

    assert (await get(server, response_id))[1]["status"] == "completed"


async def test_a_background_response_is_taken_over_by_the_next_process(serve, ask, upstream):
    model = upstream()
    server = await serve(model=model)
    _, queued = await ask(server, background=True)
    await model.began.wait()
    await server.stop()

    server = await serve("Here I am")
    text = await told_again(server, queued["id"])

    assert last(text)["status"] == "completed"
    assert last(text)["output"][0]["content"][0]["text"] == "Here I am"


async def test_a_foreground_response_is_not_taken_over(serve, upstream):
    model = upstream()
    server = await serve(model=model)
    stream = asyncio.create_task(raw(server))
    await model.began.wait()
    turn = server.runtime.running_turns[0][1]
    response_id = f"resp_{turn.id.removeprefix('turn_')}000{turn.session_id}"
    await server.stop()
    await asyncio.wait((stream,))
    stream.exception()

    server = await serve()
    text = await told_again(server, response_id)

    assert '"status":"failed"' in text
    assert not server.model.requests


# The SDK.


async def test_the_sdk_comes_back_to_a_stream(serve):
    server = await serve((TextDelta("Hello my dear friend "), Finished("stop")))
    async with server.sdk() as client:
        seen = []
        stream = await client.responses.create(model="a", input="Hi", background=True, stream=True)
        async for event in stream:
            seen.append(event)
            if len(seen) == 5:
                break
        await stream.close()
        rest = await client.responses.retrieve(seen[0].response.id, stream=True, starting_after=4)
        seen += [event async for event in rest]
        items = await client.responses.input_items.list(seen[0].response.id)

    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert seen[-1].type == "response.completed"
    assert seen[-1].response.output_text == "Hello my dear friend "
    assert items.data[0].content[0].text == "Hi"


async def test_the_pages_list_of_sessions_has_no_responses_unless_asked(serve, ask):
    for options in ({"journal": None}, {}):  # in memory, too
        server = await serve("One", **options)
        await ask(server)

        for query, total in (({}, 0), ({"responses": "true"}, 1)):
            async with server.http.get("/api/sessions", params=query) as reply:
                assert (await reply.json())["total"] == total


async def test_a_response_that_another_process_runs_is_followed_through_the_journal(serve, ask, upstream):
    model = upstream(TextDelta("Hello out there, "))
    runs = await serve(model=model)
    reads = await serve()
    _, queued = await ask(runs, background=True)
    await model.began.wait()

    followed = asyncio.create_task(told_again(reads, queued["id"]))
    _, before = await get(reads, queued["id"])
    model.go.set()
    text = await followed

    assert before["status"] == "in_progress"
    assert text == await told_again(runs, queued["id"])
    assert last(text)["output"][0]["content"][0]["text"] == "Hello out there, "
