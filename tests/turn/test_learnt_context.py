"""What a model's refusals taught of its context: how long it is known, and that it grows again."""

import pytest
from aiohttp import web

from gaia_core import Agent, Catalog, ModelSpec, Runtime
from gaia_core.events import ModelRetried
from gaia_core.models import Endpoint, EndpointConfig
from gaia_core.testing import StrictEndpoint
from gaia_core.turn.context._context_budget import LearntContext, prompt_budget


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def learnt_at(clock: Clock, window: int = 8_192) -> LearntContext:
    learnt = LearntContext(clock)
    learnt.learn(chars=60_000, answer=0, window=window, prompt_tokens=15_000, configured=None)
    return learnt


def test_a_window_is_known_for_ten_minutes():
    clock = Clock()
    learnt = learnt_at(clock)
    assert learnt.window == 8_192
    clock.seconds += 599
    assert learnt.window == 8_192
    assert prompt_budget(None, None, learnt) is not None
    clock.seconds += 2

    assert learnt.window is None
    assert prompt_budget(None, None, learnt) is None


def test_a_server_that_starts_again_may_have_another_window():
    learnt = learnt_at(Clock())
    learnt.restarted()

    assert learnt.window is None


def test_what_the_endpoint_counted_against_is_its_window_also_when_that_is_larger():
    learnt = learnt_at(Clock(), window=4_096)
    learnt.learn(chars=100_000, answer=0, window=16_384, prompt_tokens=25_000, configured=None)

    assert learnt.window == 16_384


def test_a_number_that_the_endpoint_only_lists_does_not_enlarge_what_it_refused_by():
    learnt = learnt_at(Clock(), window=4_096)
    learnt.learn(chars=10_000, answer=0, window=131_072, prompt_tokens=None, configured=None)

    assert learnt.window == 4_096


LONG = "words of a long message " * 1_200  # about 7,200 tokens


class Restarting(StrictEndpoint):
    """Answers the next request as a server that loads its model, when it is told to."""

    loads = False

    async def _complete(self, request):
        if self.loads:
            self.loads = False
            return web.json_response({"error": {"code": 503, "message": "Loading model"}}, status=503)
        return await super()._complete(request)


@pytest.mark.parametrize("how", ["time", "restart"])
async def test_a_larger_context_is_used_once_the_server_has_it(how):
    clock = Clock()
    async with Restarting("ok", window=4_000) as server:
        config = EndpointConfig(url=server.url, model="m", retries=1, backoff=0.0)
        spec = ModelSpec("local", open=lambda: Endpoint(config))
        agent = Agent("a")
        async with Runtime(Catalog.of(agent, models={"local": spec})) as runtime:
            learnt = runtime._generations.current.access("local").learnt
            learnt._now = clock

            async def say(words: str) -> tuple[list[str], bool]:
                """Why the request was sent again, and whether the user's message was answered whole."""
                turn = await runtime.start(await runtime.open(agent), words)
                retried = [event.kind async for event in turn.events() if isinstance(event, ModelRetried)]
                return retried, server.requests[-1]["messages"][-1]["content"] == LONG

            assert await say(LONG) == (["context_length"], False)
            assert await say(LONG) == ([], False)  # it is known
            server._window = 20_000
            assert await say(LONG) == ([], False)  # nothing says that it is larger
            if how == "time":
                clock.seconds += 601
            else:
                server.loads = True
                assert await say("Hi") == (["not_ready"], False)
            assert await say(LONG) == ([], True)
