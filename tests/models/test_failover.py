"""A model at several endpoints, on real sockets: who is asked, who next, and what is never asked twice."""

import asyncio
import itertools
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, suppress
from socket import SO_LINGER, SOL_SOCKET

import attrs
import pytest
from aiohttp import web

from gaia_core.errors import ConfigError
from gaia_core.events import ModelRetried, TextDelta
from gaia_core.messages import UserMessage
from gaia_core.models import EndpointConfig, Failover, Finished, ModelError, ModelRequest, OpenEndpoints, PromptedTools

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Server:
    """An endpoint that does what *does* says: a status, or `ok`, `reset`, `hang`, `silent`, `die`, `broken`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.does: int | str = "ok"
        self.retry_after = 7
        self.asked: list[str] = []
        self.went = asyncio.Event()
        self.arrived = asyncio.Event()
        self.url = ""

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((await request.json())["messages"][0]["content"])
        self.arrived.set()
        does = self.does
        if isinstance(does, int):
            headers = {"retry-after": str(self.retry_after)} if does == 429 else {}
            return web.json_response({"error": {"message": "I can't"}}, status=does, headers=headers)
        if does == "reset":
            # Linger 0: the client gets a reset, and not an end.
            request.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
            return web.Response()
        try:
            if does == "hang":
                await asyncio.Event().wait()
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            if does == "silent":
                await asyncio.Event().wait()
            if does == "broken":
                await response.write(b'data: {"error":{"message":"out of memory"}}\n\n')
                return response
            await response.write(CHUNK % self.name.encode())
            if does == "wait":
                await asyncio.Event().wait()
            if does == "die":
                await asyncio.sleep(0)
                request.transport.abort()
                return response
            await response.write(END)
        except asyncio.CancelledError:
            self.went.set()
            raise
        return response


@pytest.fixture
async def servers() -> AsyncIterator[Callable]:
    """Start endpoints called a, b, c …, each on a port of its own, and make a model of them."""
    async with AsyncExitStack() as stack:

        async def servers(count: int, clock: Clock | None = None, **config: object):
            made = []
            for name in "abcdefgh"[:count]:
                server = Server(name)
                app = web.Application()
                app.router.add_post("/v1/chat/completions", server.complete)
                runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
                made.append(server)
            given = {"model": "m", "backoff": 0.001, "retries": 0, **config}
            model = Failover([EndpointConfig(url=server.url, **given) for server in made], clock=clock or Clock())
            stack.push_async_callback(model.aclose)
            return model, made

        yield servers


def request(say: str = "Hi", session: str = "s") -> ModelRequest:
    return ModelRequest((UserMessage(say),), session_key=session)


@attrs.frozen
class Told:
    deltas: tuple

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, TextDelta))

    @property
    def retried(self) -> list[ModelRetried]:
        return [delta for delta in self.deltas if isinstance(delta, ModelRetried)]


async def ask(model: Failover, say: str = "Hi", session: str = "s") -> Told:
    async with aclosing(model.stream(request(say, session))) as stream:
        told = Told(tuple([delta async for batch in stream for delta in batch]))
    assert isinstance(told.deltas[-1], Finished)
    return told


async def refused(model: Failover, say: str = "Hi", session: str = "s") -> ModelError:
    with pytest.raises(ModelError) as error:
        await ask(model, say, session)
    return error.value


async def by_preference(model: Failover, made: list[Server], session: str = "s") -> list[Server]:
    """*made*, the one that *session* prefers first; nothing is remembered of finding out."""
    preferred = [seat.url for seat in model._preferred(session)]
    return sorted(made, key=lambda server: preferred.index(server.url))


def sessions(model: Failover, server: Server) -> Iterator[str]:
    """Sessions that prefer *server*."""
    return (name for name in map(str, itertools.count()) if model._preferred(name)[0].url == server.url)


def states(model: Failover, *servers: Server) -> list[str]:
    by_url = {endpoint.url: endpoint for endpoint in model.endpoints}
    return [by_url[server.url].state for server in servers]


# Which endpoint.


async def test_a_conversation_stays_at_its_endpoint(servers):
    model, made = await servers(3)
    for _ in range(5):
        await ask(model, session="one")

    assert sorted(len(server.asked) for server in made) == [0, 0, 5]


async def test_conversations_are_spread_over_the_endpoints():
    configs = [EndpointConfig(url=f"http://127.0.0.1:{port}/v1") for port in (1, 2, 3)]
    model = Failover(configs)
    first = Counter(model._preferred(f"session {n}")[0].url for n in range(600))

    assert all(150 < count < 250 for count in first.values())


async def test_when_an_endpoint_is_added_only_conversations_that_it_wins_move():
    configs = [EndpointConfig(url=f"http://127.0.0.1:{port}/v1") for port in (1, 2, 3, 4)]
    before, after = Failover(configs[:3]), Failover(configs)
    moved = 0
    for number in range(400):
        old = before._preferred(f"session {number}")[0].url
        new = after._preferred(f"session {number}")[0].url
        assert new in (old, configs[3].base)
        moved += new != old

    assert 60 < moved < 140


async def test_the_order_of_the_configuration_does_not_move_conversations():
    configs = [EndpointConfig(url=f"http://127.0.0.1:{port}/v1") for port in (1, 2, 3)]
    one, other = Failover(configs), Failover(configs[::-1])

    assert [seat.url for seat in one._preferred("s")] == [seat.url for seat in other._preferred("s")]


async def test_without_a_conversation_the_least_busy_endpoint_is_asked(servers):
    model, (a, _) = await servers(2)
    a.does = "hang"
    busy = asyncio.create_task(refused(model, session=""))
    await a.arrived.wait()

    assert (await ask(model, session="")).text == "b"
    assert [endpoint.running for endpoint in model.endpoints] == [1, 0]
    busy.cancel()
    await asyncio.wait((busy,))
    assert [endpoint.running for endpoint in model.endpoints] == [0, 0]


# Who next.


@pytest.mark.parametrize("does", ["reset", "hang", "silent", "broken", 404, 429, 500, 503])
async def test_what_fails_before_its_first_delta_is_answered_by_the_next_endpoint(servers, does, loop_clock):
    model, made = await servers(2, first_token_timeout=60.0)
    first, second = await by_preference(model, made)
    first.does = does

    asking = asyncio.create_task(ask(model))
    await first.arrived.wait()
    if does in ("hang", "silent"):
        loop_clock.advance(60.0)
    told = await asking

    assert told.text == second.name
    assert [(len(first.asked), len(second.asked))] == [(1, 1)]
    (retried,) = told.retried
    assert (told.deltas[0], retried.attempt, retried.delay) == (retried, 1, 0.0)


async def test_an_endpoint_that_does_not_listen_is_passed(servers):
    _, made = await servers(1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        both = Failover([EndpointConfig(url=url, model="m", retries=0) for url in (dead, made[0].url)])
        for session in "abcdefgh":
            assert (await ask(both, session=session)).text == "a"
        await both.aclose()


async def test_an_answer_that_dies_in_its_middle_is_not_begun_again_elsewhere(servers):
    model, made = await servers(2)
    first, second = await by_preference(model, made)
    first.does = "die"

    stream = model.stream(request())
    assert await anext(stream) == (TextDelta(first.name),)
    with pytest.raises(ModelError) as error:
        await anext(stream)

    assert error.value.kind == "broken_stream"
    assert second.asked == []


@pytest.mark.parametrize(("does", "kind"), [(400, "bad_request"), (401, "auth")])
async def test_what_is_the_requests_fault_is_asked_of_nobody_else(servers, does, kind):
    model, made = await servers(2)
    first, second = await by_preference(model, made)
    first.does = does

    assert (await refused(model)).kind == kind
    assert second.asked == []
    assert states(model, first) == ["closed"]


async def test_when_all_fail_the_error_names_each_and_what_it_did(servers):
    model, made = await servers(2)
    first, second = await by_preference(model, made)
    first.does, second.does = "reset", 503

    error = await refused(model)

    assert (error.kind, error.status, error.retryable) == ("overloaded", 503, True)
    assert str(error).startswith("no endpoint of the model answered; ")
    assert f"{first.url}: " in str(error)
    assert f"{second.url}: the model's endpoint answered 503: I can't" in str(error)


async def test_when_all_are_busy_the_error_says_when_to_come_back(servers):
    model, made = await servers(2)
    for server in made:
        server.does = 429

    error = await refused(model)

    assert (error.kind, error.retry_after) == ("rate_limited", 7)


async def test_all_are_asked_again_after_a_delay_when_that_can_help(servers):
    model, made = await servers(2, retries=1)
    for server in made:
        server.does = 503
    stream = model.stream(request())
    delays = []
    async with aclosing(stream):
        async for batch in stream:
            if isinstance(batch[0], ModelRetried):
                delays.append(batch[0].delay)
                if batch[0].delay:
                    made[0].does = "ok"
            elif isinstance(batch[0], TextDelta):
                assert batch[0].text == "a"

    assert sum(delay > 0 for delay in delays) == 1


async def test_who_is_told_to_come_back_much_later_does_not_wait(servers):
    model, made = await servers(2, retries=2)
    for server in made:
        server.does, server.retry_after = 429, 60

    error = await refused(model)

    assert (error.retry_after, [len(server.asked) for server in made]) == (60, [1, 1])


async def test_retries_end(servers):
    model, made = await servers(2, retries=2)
    for server in made:
        server.does = 500

    await refused(model)

    assert [len(server.asked) for server in made] == [3, 3]


# The breaker.


async def test_a_dead_endpoint_is_left_alone_and_tried_again_later(servers):
    clock = Clock()
    model, made = await servers(2, clock)
    first, second = await by_preference(model, made)
    first.does = "reset"
    for _ in range(5):
        assert (await ask(model)).text == second.name
    assert (len(first.asked), states(model, first, second)) == (3, ["open", "closed"])

    clock.now += 1
    first.does = "ok"

    assert (await ask(model)).text == first.name
    assert states(model, first) == ["closed"]


@pytest.mark.parametrize("does", [500, 503, 404])
async def test_an_endpoint_that_fails_what_another_answers_is_left_alone_too(servers, does):
    model, made = await servers(2)
    first, second = await by_preference(model, made)
    first.does = does
    for session, _ in zip(sessions(model, first), range(5), strict=False):
        assert (await ask(model, session=session)).text == second.name

    assert (len(first.asked), states(model, first)) == (3, ["open"])


@pytest.mark.parametrize("does", [500, 503, 404, "die", "broken"])
@pytest.mark.parametrize("count", [1, 2])
async def test_one_session_that_breaks_an_endpoint_does_not_shut_it_for_others(servers, does, count):
    model, made = await servers(count)
    first, *_ = await by_preference(model, made)
    session, other = itertools.islice(sessions(model, first), 2)
    first.does = does
    for _ in range(5):
        with suppress(ModelError):
            await ask(model, session=session)
    first.does = "ok"

    assert states(model, first) == ["closed"]
    assert (await ask(model, session=other)).text == first.name


async def test_a_request_that_every_endpoint_fails_shuts_none_of_them(servers):
    model, made = await servers(2)
    for server in made:
        server.does = 500
    for _ in range(5):
        await refused(model)

    assert states(model, *made) == ["closed", "closed"]


async def test_endpoints_that_die_in_mid_answer_again_and_again_are_left_alone(servers):
    model, made = await servers(2)
    first, second = await by_preference(model, made)
    first.does = "die"
    for session, _ in zip(sessions(model, first), range(3), strict=False):
        await refused(model, session=session)

    assert states(model, first) == ["open"]
    assert (await ask(model)).text == second.name


async def test_a_busy_endpoint_is_not_taken_for_a_dead_one(servers):
    model, made = await servers(2)
    first, _ = await by_preference(model, made)
    first.does = 429
    for _ in range(5):
        await ask(model)

    assert (len(first.asked), states(model, first)) == (5, ["closed"])


async def test_when_all_are_left_alone_a_request_fails_at_once_and_says_when_they_are_tried(servers):
    model, made = await servers(2)
    for server in made:
        server.does = "reset"
    for _ in range(3):
        await refused(model)

    error = await refused(model)

    assert (error.kind, error.retryable, error.retry_after) == ("not_ready", True, 1.0)
    for server in made:
        assert f"{server.url}: not asked, because it failed 3 times in a row and is tried again in 1.0 s" in str(error)
    assert [len(server.asked) for server in made] == [3, 3]


async def test_a_single_dead_endpoint_fails_fast_and_is_tried_by_one_request_at_a_time(servers):
    clock = Clock()
    model, (server,) = await servers(1, clock)
    server.does = "reset"
    for _ in range(3):
        assert (await refused(model)).kind in ("connect", "broken_stream")
    assert (await refused(model)).kind == "not_ready"
    assert len(server.asked) == 3

    clock.now += 1
    server.does = "hang"
    server.arrived.clear()
    trial = asyncio.create_task(ask(model))
    await server.arrived.wait()
    assert (await refused(model)).kind == "not_ready"
    assert len(server.asked) == 4

    trial.cancel()
    await asyncio.wait((trial,))
    server.does = "ok"
    assert (await ask(model)).text == "a"


@pytest.mark.parametrize("does", [400, 429])
async def test_an_endpoint_that_answers_its_trial_with_a_refusal_is_there(servers, does):
    clock = Clock()
    model, (server,) = await servers(1, clock)
    server.does = "reset"
    for _ in range(3):
        await refused(model)
    clock.now += 1
    server.does = does

    await refused(model)

    assert states(model, server) == ["closed"]


async def test_a_trial_that_tries_again_has_not_answered_yet(servers):
    clock = Clock()
    model, (server,) = await servers(1, clock, retries=1)
    server.does = "reset"
    for _ in range(3):
        await refused(model)
    clock.now += 1

    async with aclosing(model.stream(request())) as stream:
        assert isinstance((await anext(stream))[0], ModelRetried)
        assert states(model, server) == ["half_open"]


async def test_a_single_endpoint_that_hiccups_is_tried_again_as_ever(servers):
    model, (server,) = await servers(1, retries=2)
    server.does = "reset"
    stream = model.stream(request())
    said = []
    async with aclosing(stream):
        async for batch in stream:
            said += batch
            server.does = "ok"

    assert [type(delta) for delta in said] == [ModelRetried, TextDelta, Finished]
    assert model.endpoints[0].failures == 0


async def test_many_requests_that_one_restart_breaks_do_not_shut_a_single_endpoint(servers):
    model, (server,) = await servers(1)
    server.does = "reset"
    await asyncio.gather(*(refused(model, session=str(number)) for number in range(20)))

    assert model.endpoints[0].failures < 3
    server.does = "ok"
    assert (await ask(model)).text == "a"


# Ends.


async def test_leaving_an_answer_closes_it_upstream_and_blames_nobody(servers):
    model, made = await servers(2)
    first, _ = await by_preference(model, made)
    first.does = "wait"
    stream = model.stream(request())
    async with aclosing(stream):
        async for _ in stream:
            break

    await asyncio.wait_for(first.went.wait(), 60)
    load = next(endpoint for endpoint in model.endpoints if endpoint.url == first.url)
    assert (load.state, load.failures, load.running) == ("closed", 0, 0)


async def test_who_is_cancelled_while_he_hears_of_a_failover_leaves_no_trial_behind(servers):
    clock = Clock()
    model, made = await servers(2, clock)
    first, second = await by_preference(model, made)
    first.does, second.does = "reset", "reset"
    for _ in range(3):
        await refused(model)
    clock.now += 1

    stream = model.stream(request())
    assert isinstance((await anext(stream))[0], ModelRetried)
    await stream.aclose()
    second.does = "ok"

    assert (await ask(model)).text == second.name


async def test_a_key_is_in_no_error(servers, monkeypatch):
    monkeypatch.setenv("FAILOVER_KEY", "sk-secret")
    model, made = await servers(2, api_key_env="FAILOVER_KEY")
    for server in made:
        server.does = 500

    error = await refused(model)

    assert "sk-secret" not in f"{error} {error!r} {model!r} {model.endpoints}"


# What it is made of.


def test_no_endpoint_and_one_named_twice_are_refused():
    config = EndpointConfig(url="http://127.0.0.1:1/v1")
    with pytest.raises(ConfigError, match="at least one endpoint"):
        Failover(())
    with pytest.raises(ConfigError, match=r"http://127.0.0.1:1/v1 is named twice"):
        Failover((config, EndpointConfig(url="http://127.0.0.1:1/v1/")))


async def test_prompted_tools_are_laid_over_all_endpoints_which_stay_visible():
    config = EndpointConfig(url="http://127.0.0.1:1/v1", tool_calls="prompted")
    model = OpenEndpoints((config,))()

    assert isinstance(model, PromptedTools)
    assert [endpoint.url for endpoint in model.endpoints] == ["http://127.0.0.1:1/v1"]
    await model.aclose()


def test_equal_configurations_open_by_equal_values():
    config = EndpointConfig(url="http://127.0.0.1:1/v1")
    same = EndpointConfig(url="http://127.0.0.1:1/v1")

    assert OpenEndpoints((config,)) == OpenEndpoints((same,))
    assert hash(OpenEndpoints((config,))) == hash(OpenEndpoints((same,)))
