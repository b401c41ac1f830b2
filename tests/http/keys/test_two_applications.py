"""Applications over one runtime: none changes it, and none disturbs another."""

import sys

import pytest

from gaia_core import Agent, Catalog, ConfigError, ModelSpec, Runtime, ScriptedModel, scripted
from gaia_http import Settings, create_app
from gaia_http.keys import Allowances, KeyLimits


class Watched(Runtime):
    """Notes what anybody sets on it from outside of the core."""

    def __setattr__(self, name: str, value: object) -> None:
        setter = sys._getframe(1).f_globals["__name__"]
        if not setter.startswith("gaia_core."):
            self.__dict__.setdefault("set_from_outside", []).append((setter, name))
        super().__setattr__(name, value)


def catalog(model: ScriptedModel) -> Catalog:
    return Catalog.of(Agent("a"), models={"local": ModelSpec("local", open=lambda: model)})


async def test_an_application_sets_nothing_on_its_runtime(room):
    room.make("ann")
    allowances = Allowances(room.ring())
    runtime = Watched(catalog(scripted()), quota=allowances)
    before = dict(vars(runtime))

    app = create_app(Settings(), runtime, allowances)
    assert dict(vars(runtime)) == before
    async with app.lifespan():
        assert runtime.accepting

    assert "set_from_outside" not in vars(runtime)
    assert runtime.quota is allowances
    with pytest.raises(AttributeError):
        runtime.quota = None


def test_keys_that_the_runtime_does_not_count_by_are_refused(room):
    """Else their limits and what they approve would not hold."""
    other = Allowances(room.ring())

    for runtime in (Runtime(catalog(scripted())), Runtime(catalog(scripted()), quota=other)):
        with pytest.raises(ConfigError, match=r"Runtime\(…, quota=allowances\)"):
            create_app(Settings(), runtime, Allowances(room.ring()))


async def say(server, headers: dict | None = None) -> int:
    async with server.http.post("/v1/chat/completions", json=BODY, headers=headers) as response:
        await response.read()
        return response.status


BODY = {"model": "a", "messages": [{"role": "user", "content": "Hi"}]}


async def test_a_key_is_needed_where_the_application_asks_for_one(serve, room, bearer):
    headers = bearer(room.make("ann"))
    keyed = await serve(*["Hello"] * 3, keyring=room.ring())
    free = await serve(beside=keyed)

    assert [await say(keyed), await say(keyed, headers), await say(free), await say(free, headers)] == [
        401,
        200,
        200,
        200,
    ]


async def test_what_a_key_has_used_in_one_counts_in_the_other(serve, room, bearer):
    headers = bearer(room.make("ann", limits=KeyLimits(requests_per_minute=2)))
    ring = room.ring()
    one = await serve(*["Hello"] * 3, keyring=ring)
    two = await serve(beside=one, keyring=ring)
    free = await serve(beside=one)

    assert (await say(one, headers), await say(two, headers)) == (200, 200)
    assert (await say(one, headers), await say(two, headers)) == (429, 429)
    assert await say(free) == 200


async def test_a_keys_turns_are_counted_whichever_application_came_last(serve, room, bearer, upstream):
    headers = bearer(room.make("ann", limits=KeyLimits(running_turns=1)))
    model = upstream()
    keyed = await serve(model=model, keyring=room.ring())
    await serve(beside=keyed)

    async with keyed.http.post("/v1/chat/completions", json={**BODY, "stream": True}, headers=headers) as response:
        await response.content.readany()
        assert await say(keyed, headers) == 429
        model.go.set()


async def test_an_application_that_stops_leaves_the_other_its_runtime(serve):
    first = await serve(*["Hello"] * 3)
    second = await serve(beside=first)
    assert [await say(first), await say(second)] == [200, 200]

    await first.stop()
    assert first.runtime.accepting
    assert await say(second) == 200

    await second.stop()
    assert not first.runtime.accepting
