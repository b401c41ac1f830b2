"""Another key's object does not exist: every route with an id, in all APIs, asked by its owner and by another key.

The routes are the application's own: a new one fails `test_every_route_has_a_case` until it has a row in `MATRIX` or is
in `WITHOUT_IDS`. A row is asked by the other key first (404, and nothing changed), then by the owner, so that a wrong
id can't pass. What follows a `#` says which id of the route's body it is about.
"""

import asyncio
import json
from collections.abc import Callable

import aiohttp
import attrs
import pytest
from litestar.routes import ASGIRoute, WebSocketRoute

from gaia_core import Agent, ApprovalPolicy, Catalog, Context, Runtime, ScriptedModel, Toolset, call, scripted, tool
from gaia_core.messages import ToolMessage
from gaia_http import Settings, create_app
from gaia_http.door._post_route import METHODS
from gaia_http.mcp._exposed_tools import ExposedTools

# What there is: objects of the owner.


@tool(effects="write")
async def save() -> str:
    """Save."""
    return "saved"


@tool(effects="read")
async def pick(ctx: Context[None]) -> str:
    """Let the user pick."""
    return f"picked {await ctx.ask('Which one?', ('x', 'y'))}"


AGENT = Agent("a", tools=Toolset("t", (save, pick)), approvals=ApprovalPolicy(effects={"write"}))


def answer(request):
    """Calls the tool that the user names, else says hello."""
    last = request.messages[-1]
    if isinstance(last, ToolMessage) or last.content not in ("save", "pick"):
        return "Hello"
    return call(last.content)


@attrs.define
class Objects:
    """Ids of what the owner has, for paths and bodies."""

    id: str = ""
    mid: str = ""
    confirm_id: str = ""
    request_id: str = ""
    file_id: str = ""
    response_id: str = ""
    conversation_id: str = ""
    completion_id: str = ""
    item_id: str = ""


class Keys:
    """Two keys at one server, and what the first of them owns."""

    def __init__(self, server, owner: dict, other: dict) -> None:
        self.server = server
        self.owner = owner
        self.other = other
        self._streams: list = []

    async def ask(self, headers: dict, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """The status and, unless it is a stream, the body."""
        async with self.server.http.request(method, path, json=body, headers=headers) as response:
            streamed = response.status == 200 and "event-stream" in response.headers["content-type"]
            return response.status, b"" if streamed else await response.read()

    async def own(self, method: str, path: str, body: object = None) -> dict:
        status, answered = await self.ask(self.owner, method, path, body)
        assert status == 200, answered
        return json.loads(answered)

    async def talked(self, objects: Objects) -> None:
        """A session with a turn that has ended."""
        objects.id = (await self.own("POST", "/api/sessions", {"title": "Mine"}))["id"]
        await self.own("POST", "/api/chat/send", {"session_id": objects.id, "message": "Hi", "stream": False})
        found = await self.own("GET", f"/api/sessions/{objects.id}/messages")
        objects.mid = str(found["messages"][0]["id"])

    async def waiting(self, objects: Objects, word: str) -> None:
        """A session whose turn waits for its user."""
        objects.id = (await self.own("POST", "/api/sessions", {}))["id"]
        body = {"session_id": objects.id, "message": word}
        stream = await self.server.http.post("/api/chat/send", json=body, headers=self.owner)
        self._streams.append(stream)
        while not (objects.confirm_id or objects.request_id):
            line = (await stream.content.readline()).decode()
            if line.startswith("data:"):
                data = json.loads(line[5:])
                objects.confirm_id = data.get("confirm_id", "")
                objects.request_id = data.get("request_id", "") if data["type"] == "user_input_request" else ""

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


async def talked(keys: Keys, objects: Objects) -> None:
    await keys.talked(objects)


async def asks_to_save(keys: Keys, objects: Objects) -> None:
    await keys.waiting(objects, "save")


async def asks_to_pick(keys: Keys, objects: Objects) -> None:
    await keys.waiting(objects, "pick")


async def uploaded(keys: Keys, objects: Objects) -> None:
    """A file."""
    form = aiohttp.FormData()
    form.add_field("purpose", "user_data")
    form.add_field("file", b"Mine", filename="mine.txt")
    async with keys.server.http.post("/v1/files", data=form, headers=keys.owner) as response:
        objects.file_id = (await response.json())["id"]


async def responded(keys: Keys, objects: Objects) -> None:
    """A stored response."""
    response = await keys.own("POST", "/v1/responses", {"model": "a", "input": "Mine"})
    objects.response_id, objects.item_id = response["id"], response["output"][0]["id"]


async def responds_with_a_question(keys: Keys, objects: Objects) -> None:
    """A response that asks for an approval."""
    response = await keys.own("POST", "/v1/responses", {"model": "a", "input": "save"})
    objects.response_id, objects.item_id = response["id"], response["output"][0]["id"]


async def responds_later(keys: Keys, objects: Objects) -> None:
    """A response in the background, whose turn waits for its approval."""
    sent = {"model": "a", "input": "save", "background": True}
    objects.response_id = (await keys.own("POST", "/v1/responses", sent))["id"]


async def completed(keys: Keys, objects: Objects) -> None:
    """A stored chat completion."""
    sent = {"model": "a", "messages": [{"role": "user", "content": "Mine"}], "store": True}
    objects.completion_id = (await keys.own("POST", "/v1/chat/completions", sent))["id"]


async def conversed(keys: Keys, objects: Objects) -> None:
    """A conversation with an item."""
    items = [{"type": "message", "role": "user", "content": "Mine"}]
    objects.conversation_id = (await keys.own("POST", "/v1/conversations", {"items": items}))["id"]
    found = await keys.own("GET", f"/v1/conversations/{objects.conversation_id}/items")
    objects.item_id = found["data"][0]["id"]


# The routes.


@attrs.frozen
class Row:
    """How a route is asked. *body* is made of the objects; *needs* makes them."""

    body: Callable[[Objects], object] | None = None
    query: str = ""
    needs: Callable = talked
    look: str = "/api/sessions/{id}"
    """What the owner looks at before and after the other key's try."""


def _session(objects: Objects) -> dict:
    return {"session_id": objects.id}


def _message(objects: Objects) -> dict:
    part = {"type": "document", "source": {"type": "file", "file_id": objects.file_id}}
    return {"model": "a", "max_tokens": 10, "messages": [{"role": "user", "content": [part]}]}


ONE = "/api/sessions/{id}"
FILE = "/v1/files/{file_id}"
RESPONSE = "/v1/responses/{response_id}"
TALK = "/v1/conversations/{conversation_id}"
COMPLETION = "/v1/chat/completions/{completion_id}"
MATRIX = {
    f"GET {ONE}": Row(),
    f"PUT {ONE}": Row(lambda _: {"title": "Yours"}),
    f"DELETE {ONE}": Row(),
    f"PATCH {ONE}/private": Row(lambda _: {"private": True}),
    f"GET {ONE}/messages": Row(),
    f"DELETE {ONE}/messages/{{mid}}": Row(),
    f"DELETE {ONE}/messages/{{mid}}/and-below": Row(),
    f"POST {ONE}/head": Row(lambda objects: {"message_id": int(objects.mid)}),
    f"POST {ONE}/fork": Row(lambda _: {}),
    f"GET {ONE}/export": Row(),
    f"POST {ONE}/activate": Row(),
    "POST /api/chat/send": Row(lambda objects: _session(objects) | {"message": "Hi", "stream": False}),
    "GET /api/chat/attach": Row(query="?session_id={id}", needs=asks_to_save),
    "POST /api/chat/confirm-tool": Row(
        lambda objects: _session(objects) | {"approved": True, "confirm_id": objects.confirm_id}, needs=asks_to_save
    ),
    "POST /api/chat/user-input": Row(
        lambda objects: _session(objects) | {"request_id": objects.request_id, "value": "x"}, needs=asks_to_pick
    ),
    "POST /api/chat/cancel": Row(_session, needs=asks_to_save),
    f"GET {FILE}": Row(needs=uploaded, look=FILE),
    f"GET {FILE}/content": Row(needs=uploaded, look=FILE),
    f"DELETE {FILE}": Row(needs=uploaded, look=FILE),
    f"GET {RESPONSE}": Row(needs=responded, look=RESPONSE),
    f"DELETE {RESPONSE}": Row(needs=responded, look=RESPONSE),
    f"GET {RESPONSE}/input_items": Row(needs=responded, look=RESPONSE),
    f"POST {RESPONSE}/cancel": Row(needs=responds_later, look="/v1/models"),  # the response itself goes on
    f"GET {COMPLETION}": Row(needs=completed, look=COMPLETION),
    f"POST {COMPLETION}": Row(lambda _: {"metadata": {"a": "b"}}, needs=completed, look=COMPLETION),
    f"DELETE {COMPLETION}": Row(needs=completed, look=COMPLETION),
    f"GET {COMPLETION}/messages": Row(needs=completed, look=COMPLETION),
    f"GET {TALK}": Row(needs=conversed, look=TALK),
    f"POST {TALK}": Row(lambda _: {"metadata": {"a": "b"}}, needs=conversed, look=TALK),
    f"DELETE {TALK}": Row(needs=conversed, look=TALK),
    f"GET {TALK}/items": Row(needs=conversed, look=TALK),
    f"POST {TALK}/items": Row(
        lambda _: {"items": [{"type": "message", "role": "user", "content": "Hi"}]},
        needs=conversed,
        look=f"{TALK}/items",
    ),
    f"GET {TALK}/items/{{item_id}}": Row(needs=conversed, look=f"{TALK}/items"),
    f"DELETE {TALK}/items/{{item_id}}": Row(needs=conversed, look=f"{TALK}/items"),
    "POST /v1/responses": Row(
        lambda objects: {"model": "a", "input": "Hi", "previous_response_id": objects.response_id},
        needs=responded,
        look=RESPONSE,
    ),
    "POST /v1/responses#conversation": Row(
        lambda objects: {"model": "a", "input": "Hi", "conversation": objects.conversation_id},
        needs=conversed,
        look=TALK,
    ),
    "POST /v1/responses#item": Row(
        lambda objects: {"model": "a", "input": [{"type": "item_reference", "id": objects.item_id}]},
        needs=responded,
        look=RESPONSE,
    ),
    "POST /v1/responses#approval": Row(
        lambda objects: {
            "model": "a",
            "input": [{"type": "mcp_approval_response", "approval_request_id": objects.item_id, "approve": True}],
        },
        needs=responds_with_a_question,
        look=RESPONSE,
    ),
    "POST /v1/responses#file": Row(
        lambda objects: {
            "model": "a",
            "input": [{"role": "user", "content": [{"type": "input_file", "file_id": objects.file_id}]}],
        },
        needs=uploaded,
        look=FILE,
    ),
    "POST /v1/responses/compact": Row(
        lambda objects: {"model": "a", "previous_response_id": objects.response_id}, needs=responded, look=RESPONSE
    ),
    "POST /v1/responses/input_tokens": Row(
        lambda objects: {"model": "a", "previous_response_id": objects.response_id}, needs=responded, look=RESPONSE
    ),
    "POST /v1/chat/completions": Row(
        lambda objects: {
            "model": "a",
            "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": objects.file_id}}]}],
        },
        needs=uploaded,
        look=FILE,
    ),
    "POST /v1/messages": Row(_message, needs=uploaded, look=FILE),
    "POST /v1/messages/count_tokens": Row(_message, needs=uploaded, look=FILE),
}


ELSEWHERE = {
    "WEBSOCKET /v1/responses": "test_over_a_websocket_another_keys_object_does_not_exist",
    "ANY /mcp": "tests/http/mcp: test_a_session_of_another_key_is_not_there, test_a_state_of_another_key_is_none",
}
"""Routes with ids that are asked in another way, and by which test."""

WITHOUT_IDS = frozenset(
    line.strip()
    for line in """
    GET /health
    GET /ready
    GET /metrics
    GET /api/health
    GET /api/system/status
    GET /api/system/tasks
    GET /api/settings
    PUT /api/settings
    GET /api/onboarding/status
    POST /api/onboarding/complete
    GET /api/tunnel/status
    GET /api/agents
    GET /api/mcp/servers
    GET /api/mcp/status
    GET /api/openapi.json
    GET /api/sessions
    POST /api/sessions
    GET /api/sessions/events
    POST /api/sessions/import
    GET /api/chat/active
    GET /v1/openapi.json
    GET /v1/models
    GET /v1/files
    POST /v1/files
    POST /v1/embeddings
    POST /api/embed
    POST /api/embeddings
    POST /ollama/api/embed
    POST /ollama/api/embeddings
    POST /v1/conversations
    GET /v1/chat/completions
    POST /api/chat
    POST /api/generate
    POST /api/show
    GET /api/tags
    GET /api/version
    GET /api/ps
    GET /ollama
    POST /ollama/api/chat
    POST /ollama/api/generate
    POST /ollama/api/show
    GET /ollama/api/tags
    GET /ollama/api/version
    GET /ollama/api/ps
    """.strip().splitlines()
)
"""Routes that name nobody's object: what they list or make is the caller's own (see below, and test_scopes)."""

NO_OWNER = frozenset(("GET /api/agents/{id}", "GET /v1/models/{model_id}"))
"""Routes whose ids are the server's: an agent's name. Which key may use it: test_scopes."""


def _routes() -> set[tuple[str, str]]:
    """All routes of an application that serves everything."""
    runtime = Runtime(Catalog.of(Agent("a"), models={"local": scripted()}))
    app = create_app(Settings(), runtime, mcp=ExposedTools())
    return {
        (method, route.path_format)
        for route in app.routes
        for method in _methods(route)
        if method not in ("OPTIONS", "HEAD")
    }


def _methods(route: object) -> set[str]:
    if isinstance(route, WebSocketRoute):
        return {"WEBSOCKET"}
    if isinstance(route, ASGIRoute):
        return set(route.route_handler.opt.get(METHODS, ("ANY",)))
    return set(route.methods)


async def _described_with_ids() -> set[tuple[str, str]]:
    """The routes of the UI API whose body or query names an object, by its own OpenAPI document."""
    from gaia_http.operations._metrics import HttpCounts
    from gaia_http.ui._routes import ui_routes

    runtime = Runtime(Catalog.of(Agent("a"), models={"local": scripted()}))
    found = set()
    for route in ui_routes(Settings(), runtime, HttpCounts()):
        fields = getattr(route.body, "__struct_fields__", ())
        named = (*fields, *(query.name for query in route.query))
        if any(name.endswith("_id") and name != "last_event_id" for name in named):
            found.add((route.method, route.path))
    return found


def _in_the_matrix() -> set[str]:
    return {row.partition("#")[0] for row in MATRIX}


async def test_every_route_has_a_case():
    routes = {f"{method} {path}" for method, path in _routes()}
    cases = _in_the_matrix() | set(ELSEWHERE) | NO_OWNER | WITHOUT_IDS

    assert routes - cases == set(), "add a row to MATRIX; or, if it names no key's object, add it to WITHOUT_IDS"
    assert cases - routes == set(), "there is no such route any more"


async def test_no_route_with_an_id_passes_for_one_without():
    with_id = {route for route in _routes() if "{" in route[1]} | await _described_with_ids()
    needed = {f"{method} {path}" for method, path in with_id} - NO_OWNER

    assert needed - _in_the_matrix() == set()


@pytest.fixture
async def keys(serve, room, bearer):
    owner, other = bearer(room.make("owner")), bearer(room.make("other", admin=True))
    server = await serve(ScriptedModel(answer), agents=(AGENT,), keyring=room.ring())
    made = Keys(server, owner, other)
    yield made
    made.close()


@pytest.mark.parametrize("route", MATRIX)
async def test_another_keys_object_does_not_exist(keys, route):
    method, path = route.partition("#")[0].split(" ")
    row, objects = MATRIX[route], Objects()
    await row.needs(keys, objects)
    path, look = (text.format(**attrs.asdict(objects)) for text in (path + row.query, row.look))
    body = row.body(objects) if row.body is not None else None
    before = await keys.ask(keys.owner, "GET", look)

    status, answered = await keys.ask(keys.other, method, path, body)

    said = json.loads(answered)
    assert status == 404, said
    if path.startswith("/v1/messages"):
        assert said["error"]["type"] == "not_found_error"
    elif path.startswith("/v1/"):
        assert set(said["error"]) == {"message", "type", "param", "code"}
    else:
        assert set(said) == {"detail"}
    assert b"Mine" not in answered
    if method == "GET":
        assert (await keys.ask(keys.other, "HEAD", path))[0] in (404, 405)
    assert await keys.ask(keys.owner, "GET", look) == before
    assert (await keys.ask(keys.owner, method, path, body))[0] == 200


@pytest.mark.parametrize(
    "row",
    ["POST /v1/responses", *(f"POST /v1/responses#{what}" for what in ("conversation", "item", "approval", "file"))],
)
async def test_over_a_websocket_another_keys_object_does_not_exist(keys, row):
    made, objects = MATRIX[row], Objects()
    await made.needs(keys, objects)
    create = json.dumps({"type": "response.create", **made.body(objects)})
    ends = ("response.completed", "response.failed", "error")

    async def told(headers: dict) -> dict:
        async with keys.server.http.ws_connect("/v1/responses", headers=headers) as socket:
            await socket.send_str(create)
            while (event := json.loads(await socket.receive_str(timeout=20)))["type"] not in ends:
                assert "Mine" not in json.dumps(event)
            return event

    theirs = await told(keys.other)
    own = await told(keys.owner)

    assert (theirs["type"], theirs["status"]) == ("error", 404), theirs
    assert own["type"] == "response.completed", own


async def test_a_private_session_is_another_keys_no_more_than_others(keys):
    made = await keys.own("POST", "/api/sessions", {"private": True})

    assert (await keys.ask(keys.other, "GET", f"/api/sessions/{made['id']}"))[0] == 404


async def test_lists_and_searches_have_the_callers_own_only(keys):
    objects = Objects()
    await asks_to_save(keys, objects)
    await keys.talked(Objects())
    await uploaded(keys, objects)

    for path, key in (
        ("/api/sessions", "sessions"),
        ("/api/sessions?q=Hello", "sessions"),
        ("/api/chat/active", "session_ids"),
        ("/v1/files", "data"),
    ):
        _, theirs = await keys.ask(keys.other, "GET", path)
        assert json.loads(theirs)[key] == [], path
        assert (await keys.own("GET", path))[key], path


async def test_who_watches_sessions_hears_of_his_own_only(keys):
    async with keys.server.http.get("/api/sessions/events", headers=keys.other) as stream:
        await keys.talked(Objects())
        _, own = await keys.ask(keys.other, "POST", "/api/sessions", {})
        line = await stream.content.readline()

    assert json.loads(line.removeprefix(b"data: "))["session_id"] == json.loads(own)["id"]


async def test_the_counts_of_health_are_the_callers_own(keys):
    await keys.talked(Objects())

    _, theirs = await keys.ask(keys.other, "GET", "/api/health")
    own = await keys.own("GET", "/api/health")

    assert json.loads(theirs)["stats"]["sessions"] == 0
    assert own["stats"]["sessions"] == 1


async def test_a_session_that_is_named_in_a_header_is_the_callers_own(keys):
    """Two keys that name their session alike have two: the one's running turn is not in the other's way."""
    sent = {"model": "a", "messages": [{"role": "user", "content": "Hi"}]}
    objects = Objects()
    await asks_to_save(keys, objects)

    named = {"x-session-id": objects.id}
    theirs, _ = await keys.ask(keys.other | named, "POST", "/v1/chat/completions", sent)
    own, _ = await keys.ask(keys.owner | named, "POST", "/v1/chat/completions", sent)

    assert (theirs, own) == (200, 409)


async def test_ids_of_one_key_are_free_for_another_at_once(keys):
    """The same id under two keys, at the same time, is two sessions."""
    sent = {"model": "a", "messages": [{"role": "user", "content": "Hi"}]}
    named = {"x-session-id": "shared"}

    answers = await asyncio.gather(
        *(keys.ask(key | named, "POST", "/v1/chat/completions", sent) for key in (keys.owner, keys.other))
    )

    assert [status for status, _ in answers] == [200, 200]
