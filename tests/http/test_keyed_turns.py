"""A retry with the same `Idempotency-Key` attaches to the turn of the first request, whichever process has it now."""

import asyncio
import json

import asyncpg
import pytest

from gaia_core import Agent, Context, ScriptedModel, Toolset, tool
from gaia_core.events import TextDelta
from gaia_core.journal import MemoryJournal
from gaia_core.journal.postgres import PostgresJournal
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.messages import ToolMessage
from gaia_core.models import Finished, ModelError, ToolCallDelta

KEY = {"Idempotency-Key": "one"}
WHOLE = "First I look it up.\n\nAll is done, and this is the whole answer."


@pytest.fixture(params=["sqlite", "postgres", "memory"])
async def journal(request, tmp_path):
    """A journal on the test's one place, as each of its processes has."""
    if request.param == "sqlite":
        yield lambda: SQLiteJournal(tmp_path / "j.db")
    elif request.param == "memory":
        shared = MemoryJournal()
        yield lambda: shared
    else:
        server = request.getfixturevalue("postgres").dsn
        schema = f"keyed_{next(request.getfixturevalue('numbers'))}"
        database = await asyncpg.connect(server)
        try:
            await database.execute(f"CREATE SCHEMA {schema}")
            yield lambda: PostgresJournal(f"{server}?search_path={schema}")
            await database.execute(f"DROP SCHEMA {schema} CASCADE")
        finally:
            await database.close()


@pytest.fixture
def serve(journal, serve):
    """Servers that stop before the journal's place is gone."""
    return serve


class Model:
    """Says something, calls `act`, and then says the rest: when it may *go*."""

    def __init__(self, *, go: bool = True) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        if go:
            self.go.set()
        self.ran: list[str] = []

    def agent(self) -> Agent:
        @tool(effects="write")
        async def act(ctx: Context[None]) -> str:
            """Have an effect."""
            self.ran.append(ctx.call_id)
            return "done"

        return Agent("a", tools=Toolset("t", (act,)))

    async def _answer(self, request):
        if not isinstance(request.messages[-1], ToolMessage):
            yield TextDelta("First I look it up.")
            yield ToolCallDelta(0, "call_1", "act", "{}")
            yield Finished("tool_calls")
            return
        yield TextDelta("All is done, ")
        self.began.set()
        await self.go.wait()
        yield TextDelta("and this is the whole answer.")
        yield Finished("stop")

    def script(self) -> ScriptedModel:
        return ScriptedModel(self._answer)


class Surface:
    """One of the APIs: how it is asked, and what its answer's text is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.session = ""

    async def prepare(self, server) -> None:
        if self.name == "ui":
            async with server.http.post("/api/sessions", json={"agent_type": "a"}) as reply:
                self.session = (await reply.json())["id"]

    async def ask(self, server, *, streamed: bool, headers: dict = KEY, **fields: object) -> tuple[int, str, object]:
        said = [{"role": "user", "content": "Hi"}]
        path, body = {
            "chat": ("/v1/chat/completions", {"model": "a", "messages": said}),
            "responses": ("/v1/responses", {"model": "a", "input": "Hi"}),
            "unstored": ("/v1/responses", {"model": "a", "input": "Hi", "store": False}),
            "messages": ("/v1/messages", {"model": "a", "messages": said, "max_tokens": 1000}),
            "ollama": ("/ollama/api/chat", {"model": "a", "messages": said, "think": False}),
            "ui": ("/api/chat/send", {"session_id": self.session, "message": "Hi"}),
        }[self.name]
        body = {**body, "stream": streamed, **fields}
        async with server.http.post(path, json=body, headers=headers) as reply:
            text = await reply.text()
            return reply.status, self.text(text, streamed=streamed) if reply.status == 200 else text, reply.headers

    def text(self, body: str, *, streamed: bool) -> str:
        """The text of an answer that is whole."""
        if not streamed:
            value = json.loads(body)
            match self.name:
                case "chat":
                    return value["choices"][0]["message"]["content"]
                case "responses" | "unstored":
                    messages = [item for item in value["output"] if item["type"] == "message"]
                    return "\n\n".join(item["content"][0]["text"] for item in messages)
                case "messages":
                    return "\n\n".join(block["text"] for block in value["content"] if block["type"] == "text")
                case "ollama":
                    return value["message"]["content"]
                case _:
                    return value["content"]
        lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith(("data: {", "{"))]
        values = [json.loads(line) for line in lines]
        match self.name:
            case "chat":
                assert body.endswith("data: [DONE]\n\n")
                assert [v["choices"][0]["finish_reason"] for v in values if v["choices"][0]["finish_reason"]] == [
                    "stop"
                ]
                return "".join(v["choices"][0]["delta"].get("content") or "" for v in values)
            case "responses" | "unstored":
                assert values[-1]["type"] == "response.completed"
                return "\n\n".join(v["text"] for v in values if v["type"] == "response.output_text.done")
            case "messages":
                assert values[-1]["type"] == "message_stop"
                blocks: dict[int, str] = {}
                for v in values:
                    if v["type"] == "content_block_delta" and "text" in v["delta"]:
                        blocks[v["index"]] = blocks.get(v["index"], "") + v["delta"]["text"]
                return "\n\n".join(blocks.values())
            case "ollama":
                assert values[-1]["done"]
                return "".join(v["message"]["content"] for v in values)
            case _:
                assert [v["type"] for v in values].count("done") == 1
                return "".join(v["content"] for v in values if v["type"] == "chunk")


@pytest.fixture(params=["chat", "responses", "unstored", "messages", "ollama", "ui"])
def surface(request) -> Surface:
    return Surface(request.param)


async def taken_over(by, of) -> None:
    """*by* goes on with what *of* runs, as if that process were dead."""
    await by.runtime.journal.adopt((of.runtime.replica,))
    for key, turn in of.runtime.running_turns:
        place = turn.lease.id
        await by.runtime.resume(await by.runtime.sessions.get(key[0], place))


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_retry_attaches_to_the_turn_that_another_process_took_over(serve, journal, surface, streamed):
    model, second = Model(go=False), Model()
    second.ran = model.ran
    first = await serve(model.script(), agents=(model.agent(),), journal=journal())
    await surface.prepare(first)
    lost = asyncio.create_task(surface.ask(first, streamed=streamed))
    await model.began.wait()
    other = await serve(second.script(), agents=(second.agent(),), journal=journal())
    await taken_over(other, first)

    status, text, _ = await surface.ask(other, streamed=streamed)
    again = await surface.ask(other, streamed=streamed)
    lost.cancel()
    model.go.set()

    assert (status, text) == (200, WHOLE)
    assert again[1] == text
    assert again[2]["idempotent-replayed"] == "true"
    assert len(model.ran) == 1


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_retry_at_another_process_gets_the_answer_of_the_turn_that_still_runs(
    serve, journal, surface, streamed
):
    model = Model(go=False)
    first = await serve(model.script(), agents=(model.agent(),), journal=journal())
    other = await serve(agents=(model.agent(),), journal=journal())
    await surface.prepare(first)
    asking = asyncio.create_task(surface.ask(first, streamed=streamed))
    await model.began.wait()
    retry = asyncio.create_task(surface.ask(other, streamed=streamed))
    model.go.set()

    answers = await asyncio.gather(asking, retry)

    assert [(status, text) for status, text, _ in answers] == [(200, WHOLE)] * 2
    assert other.model.requests == []
    assert len(model.ran) == 1


async def test_a_client_whose_server_lost_the_turn_is_told_and_a_retry_gets_the_whole(serve, journal):
    """What it has of the step is void: the stream ends by an error, and not by an answer of two halves."""
    surface = Surface("chat")
    model, second = Model(go=False), Model()
    first = await serve(model.script(), agents=(model.agent(),), journal=journal())
    body = {"model": "a", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with first.http.post("/v1/chat/completions", json=body, headers=KEY) as reply:
        await model.began.wait()

        async def other_text(request):
            yield TextDelta("Something else entirely.")
            yield Finished("stop")

        other = await serve(ScriptedModel(other_text), agents=(second.agent(),), journal=journal())
        await taken_over(other, first)
        model.go.set()
        text = await reply.text()

    assert '"code":"step_interrupted"' in text
    assert text.endswith("data: [DONE]\n\n")
    assert (await surface.ask(first, streamed=True))[1] == "First I look it up.\n\nSomething else entirely."
    assert len(model.ran) == 1
    assert second.ran == []


async def test_an_attempt_that_was_never_begun_is_begun_by_the_retry(serve, journal, surface):
    model = Model()
    server = await serve(model.script(), agents=(model.agent(),), journal=journal())
    await surface.prepare(server)
    begin = server.runtime.journal.answer_begin
    seen = []

    async def of_a_dead_process(name, fingerprint, _replica, **given):
        found = await begin(name, fingerprint, "1@dead.0", **given)
        seen.append(found.begun)
        return type(found)(found.number, found.fingerprint, False, False, found.body)

    server.runtime.journal.answer_begin = of_a_dead_process

    assert (await surface.ask(server, streamed=False))[:2] == (200, WHOLE)
    assert (await surface.ask(server, streamed=False))[:2] == (200, WHOLE)
    assert seen[0]
    assert not any(seen[1:])
    assert len(model.ran) == 1


async def test_two_processes_that_begin_the_same_attempt_run_it_once(serve, journal, surface):
    model = Model()
    servers = [await serve(model.script(), agents=(model.agent(),), journal=journal()) for _ in range(2)]
    await surface.prepare(servers[0])

    answers = await asyncio.gather(*(surface.ask(server, streamed=False) for server in servers))

    assert [answer[:2] for answer in answers] == [(200, WHOLE)] * 2
    assert len(model.ran) == 1


@pytest.mark.parametrize("look", [1, 2])
@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("surface", ["chat", "unstored"], indirect=True)
async def test_a_process_that_is_overtaken_runs_nothing_and_has_the_answer_that_was_kept(
    serve, journal, surface, new, look
):
    """Another process answers and erases the record before this one has its own, or while it looks at it."""
    model = Model()
    first, other = [await serve(model.script(), agents=(model.agent(),), journal=journal()) for _ in range(2)]
    begin = other.runtime.journal.answer_begin
    looks = 0

    async def answer_begin(name, fingerprint, replica, **given):
        nonlocal looks
        looks += 1
        if looks == 1 and not new:
            await begin(name, fingerprint, first.runtime.replica, **given)
        found = await begin(name, fingerprint, replica, **given)
        if looks == look:
            assert found.body is None
            other.runtime.journal.answer_begin = begin
            assert (await surface.ask(first, streamed=False))[:2] == (200, WHOLE)
            while (await first.runtime.sessions.totals()).sessions:
                await asyncio.sleep(0)
        return found

    other.runtime.journal.answer_begin = answer_begin

    assert (await surface.ask(other, streamed=False))[:2] == (200, WHOLE)
    assert len(model.ran) == 1
    async with asyncio.timeout(60):
        while (await first.runtime.sessions.totals()).sessions:
            await asyncio.sleep(0.01)


async def test_the_record_of_a_request_is_erased_when_its_answer_is_kept(serve, journal):
    model = Model()
    server = await serve(model.script(), agents=(model.agent(),), journal=journal())
    for name in ("chat", "unstored", "messages", "ollama"):
        await Surface(name).ask(server, streamed=False)
    await server.stop()
    server = await serve(journal=journal())

    assert (await server.runtime.sessions.totals()).sessions == 0
    assert (await Surface("chat").ask(server, streamed=False))[1] == WHOLE


async def test_a_turn_that_failed_leaves_its_key_free(serve, journal, surface):
    def fails(_request):
        raise ModelError("overloaded", "busy")

    server = await serve(ScriptedModel(fails), journal=journal())
    await surface.prepare(server)

    first = await surface.ask(server, streamed=False)
    second = await surface.ask(server, streamed=False)

    assert first[0] == second[0] == 503
    assert "idempotent-replayed" not in second[2]
    assert len(server.model.requests) == 2


async def test_a_named_session_gives_its_resources_and_a_restart_changes_nothing(serve, journal):
    model, second = Model(go=False), Model()
    surface = Surface("chat")
    headers = KEY | {"X-Session-Id": "mine"}
    first = await serve(model.script(), agents=(model.agent(),), journal=journal())
    lost = asyncio.create_task(surface.ask(first, streamed=True, headers=headers))
    await model.began.wait()
    other = await serve(second.script(), agents=(second.agent(),), journal=journal())
    await taken_over(other, first)

    status, text, given = await surface.ask(other, streamed=True, headers=headers)
    lost.cancel()
    model.go.set()

    assert (status, text, given["x-session-id"]) == (200, WHOLE, "mine")
    assert second.ran == []


async def test_a_conversation_and_a_chain_of_responses_attach_too(serve, journal):
    plain = await serve("One", journal=journal(), agents=(Model().agent(),))
    async with plain.http.post("/v1/responses", json={"model": "a", "input": "Hi"}) as reply:
        previous = (await reply.json())["id"]
    async with plain.http.post("/v1/conversations", json={}) as reply:
        conversation = (await reply.json())["id"]
    surface = Surface("responses")
    for fields in ({"previous_response_id": previous}, {"conversation": conversation}, {"background": True}):
        headers = {"Idempotency-Key": next(iter(fields))}
        model, second = Model(go=False), Model()
        first = await serve(model.script(), agents=(model.agent(),), journal=journal())
        lost = asyncio.create_task(surface.ask(first, streamed=True, headers=headers, **fields))
        await model.began.wait()
        other = await serve(second.script(), agents=(second.agent(),), journal=journal())
        await taken_over(other, first)

        assert (await surface.ask(other, streamed=True, headers=headers, **fields))[:2] == (200, WHOLE)
        assert second.ran == []
        lost.cancel()
        model.go.set()
