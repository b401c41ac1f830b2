"""What a key may do: its agents, and what belongs to the server."""

import pytest

from gaia_core import Agent

AGENTS = (Agent("a"), Agent("b"), Agent("c"))


@pytest.fixture
def asking(room, bearer):
    """Ask as the key of that name."""
    secrets: dict[str, str] = {}

    async def ask(server, name: str, method: str, path: str, body: object = None):
        headers = bearer(secrets[name])
        async with server.http.request(method, path, headers=headers, json=body) as response:
            return response.status, await response.json()

    def make(name: str, **rights: object) -> None:
        secrets[name] = room.make(name, **rights)

    ask.make = make
    return ask


async def test_a_key_sees_its_own_agents_only(serve, room, asking):
    asking.make("some", agents=("b", "c"))
    asking.make("all")
    server = await serve(agents=AGENTS, keyring=room.ring())

    listed = {}
    for name in ("some", "all"):
        _, models = await asking(server, name, "GET", "/v1/models")
        _, agents = await asking(server, name, "GET", "/api/agents")
        listed[name] = [model["id"] for model in models["data"]]
        assert [agent["id"] for agent in agents["agents"]] == listed[name]
        assert agents["total"] == len(listed[name])

    assert listed == {"some": ["b", "c"], "all": ["a", "b", "c"]}


async def test_another_agent_is_forbidden_in_both_apis(serve, room, asking, body):
    asking.make("some", agents=("b",))
    server = await serve("Hello", agents=AGENTS, keyring=room.ring())

    for method, path, sent in (
        ("POST", "/v1/chat/completions", body() | {"model": "a"}),
        ("GET", "/v1/models/a", None),
        ("GET", "/api/agents/a", None),
        ("POST", "/api/sessions", {"agent_type": "a"}),
    ):
        status, answer = await asking(server, "some", method, path, sent)
        assert status == 403, path
        assert "may not use the agent 'a'" in str(answer)
        if path.startswith("/v1"):
            assert answer["error"]["code"] == "agent_not_allowed"
    status, answer = await asking(server, "some", "POST", "/v1/chat/completions", body() | {"model": "b"})
    assert status == 200


async def test_an_unknown_agent_is_unknown_whatever_the_key(serve, room, asking, body):
    asking.make("some", agents=("b", "gone"))
    server = await serve(agents=AGENTS, keyring=room.ring())

    status, answer = await asking(server, "some", "POST", "/v1/chat/completions", body() | {"model": "gone"})

    assert (status, answer["error"]["code"]) == (404, "model_not_found")


async def test_a_session_begins_with_an_agent_that_its_key_may_use(serve, room, asking):
    asking.make("some", agents=("c", "b"))
    server = await serve("Hello", agents=AGENTS, keyring=room.ring())

    _, session = await asking(server, "some", "POST", "/api/sessions", {})
    assert session["agent_type"] == "b"
    status, _ = await asking(server, "some", "PUT", f"/api/sessions/{session['id']}", {"agent_type": "a"})
    assert status == 403
    send = {"session_id": session["id"], "message": "Hi", "stream": False}
    assert (await asking(server, "some", "POST", "/api/chat/send", send | {"agent_type": "a"}))[0] == 403
    assert (await asking(server, "some", "POST", "/api/chat/send", send))[0] == 200


async def test_what_belongs_to_the_server_is_an_administrators(serve, room, asking):
    asking.make("user")
    asking.make("root", admin=True)
    server = await serve(keyring=room.ring())

    for method, path, sent in (
        ("PUT", "/api/settings", {"custom_model": "local"}),
        ("POST", "/api/onboarding/complete", {}),
    ):
        assert (await asking(server, "user", method, path, sent))[0] == 403
        assert (await asking(server, "root", method, path, sent))[0] == 200
    status, answer = await asking(server, "user", "GET", "/metrics")
    assert (status, answer["code"]) == (403, "admin_only")
    assert (await asking(server, "user", "GET", "/api/settings"))[0] == 200
