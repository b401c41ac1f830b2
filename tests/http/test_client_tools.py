"""Tools that a client brings: beside the agent's own, by name and choice, and turns that wait for their results."""

import json

import attrs
import msgspec
import pytest

from gaia_core import Agent, Context, ScriptedModel, Toolset, call, tool
from gaia_core.agent import ToolSearch
from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall, ToolMessage, UserMessage
from gaia_core.models import ModelError, ToolChoice
from gaia_core.turn import TurnRequest
from gaia_http.transcript._suspended_turns import SuspendedTurns, client_ids


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


OWN = Agent("a", tools=Toolset("tools", (secret,)))


def function(name: str, **fields: object) -> dict:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}, **fields}}


def result(call_id: str, content: str) -> dict:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


USER = {"role": "user", "content": "Hi"}


# What the model is offered.


async def test_client_tools_are_offered_beside_the_agents_own_in_canonical_order(serve, body):
    server = await serve("ok", agents=(OWN,))
    tools = [function("weather", description="Tell the weather", strict=True), function("alarm")]

    await server.post(body(tools=tools, parallel_tool_calls=False))

    request = server.model.requests[0]
    assert [definition.name for definition in request.tools] == ["alarm", "secret", "weather"]
    assert json.loads(request.tools[2].encoded) == tools[0]
    assert request.parallel_tool_calls is False
    assert request.tool_choice == ToolChoice()


async def test_a_function_without_parameters_takes_none(serve, body):
    server = await serve("ok", "ok")

    await server.post(body(tools=[{"type": "function", "function": {"name": "now", "description": None}}]))
    await server.post(body(tools=[{"type": "function", "function": {"name": "now", "parameters": None}}]))

    for request in server.model.requests:
        assert json.loads(request.tools[0].parameters) == {"type": "object", "properties": {}}


async def test_an_agent_may_ignore_client_tools(serve, body):
    server = await serve("ok", agents=(Agent("a", client_tools="ignore"),))

    status, _, _ = await server.post(body(tools=[function("weather")], tool_choice="required"))

    assert status == 200
    assert server.model.requests[0].tools == ()


async def test_an_agent_may_reject_client_tools(serve, body):
    server = await serve("ok", agents=(Agent("a", client_tools="reject"),))

    status, _, answer = await server.post(body(tools=[function("weather")]))

    assert (status, answer["error"]["param"]) == (400, "tools")


@pytest.mark.parametrize("name", ["secret", "find_tools", "read_result"])
async def test_a_strict_agent_refuses_a_name_that_it_has(serve, body, name):
    """Those of the tools, too, that a turn adds to them: else the model had two of one name."""
    agent = attrs.evolve(OWN, search=ToolSearch(core={"secret"}), client_tools="strict")
    server = await serve("ok", agents=(agent,))

    status, _, answer = await server.post(body(tools=[function("weather"), function(name)]))

    assert (status, answer["error"]["param"]) == (400, "tools[1].function.name")
    assert answer["error"]["code"] == "tool_name_taken"
    assert repr(name) in answer["error"]["message"]


@pytest.mark.parametrize("name", ["secret", "read_result"])
async def test_a_clients_tool_replaces_the_agents_of_that_name(serve, body, name):
    """qwen-code brings `read_file` to an agent that has one: the client's is offered, called and run by the client."""
    server = await serve(call(name, path="a.txt"), agents=(OWN,))
    theirs = function(name, description="Theirs")

    status, _, answer = await server.post(body(tools=[theirs, function("weather")]))

    assert status == 200, answer
    offered = [tool for tool in server.model.requests[0].tools if tool.name == name]
    assert [json.loads(tool.encoded) for tool in offered] == [theirs]
    (wanted,) = answer["choices"][0]["message"]["tool_calls"]
    assert (wanted["function"]["name"], answer["choices"][0]["finish_reason"]) == (name, "tool_calls")
    assert "secret" in [tool.name for tool in server.model.requests[0].tools]


async def test_a_search_for_tools_gives_way_to_a_clients_tool_of_its_name(serve, body):
    agent = attrs.evolve(OWN, search=ToolSearch(core={"secret"}))
    server = await serve(call("find_tools", q="x"), agents=(agent,))

    _, _, answer = await server.post(body(tools=[function("find_tools"), function("secret")]))

    assert [tool.name for tool in server.model.requests[0].tools] == ["find_tools", "read_result", "secret"]
    assert b"Tell the secret" not in server.model.requests[0].tools[2].encoded
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "find_tools"


async def test_a_replaced_tool_is_the_agents_again_in_the_next_turn(serve, body):
    server = await serve("ok", call("secret"), "It is 42", agents=(OWN,))

    await server.post(body(tools=[function("secret")]))
    _, _, answer = await server.post(body())

    assert answer["choices"][0]["message"]["content"] == "It is 42"
    assert [each["tool"] for each in answer["x_gaia"]["tool_calls"]] == ["secret"]


async def test_a_stream_says_which_tools_are_replaced(serve, body):
    server = await serve("ok", "ok", agents=(OWN,))

    told = await server.stream(tools=[function("secret"), function("weather")])
    untold = await server.stream(tools=[function("weather")])

    chunks = [json.loads(line[6:]) for line in told.split("\n\n") if line.startswith("data: {")]
    assert [chunk["x_gaia"] for chunk in chunks if "x_gaia" in chunk] == [
        {"type": "ToolsReplaced", "names": ["secret"]}
    ]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "ToolsReplaced" not in untold


async def test_a_turn_that_fails_at_once_keeps_its_status_when_tools_are_replaced(serve, body):
    def busy(_request):
        raise ModelError("rate_limited", "slow down")

    server = await serve(ScriptedModel(busy), agents=(OWN,))

    async with server.http.post("/v1/chat/completions", json=body(tools=[function("secret")], stream=True)) as reply:
        assert reply.status == 429


async def test_responses_let_a_clients_tool_win_too(serve):
    server = await serve(call("secret", q="x"), agents=(OWN,))
    tool = {"type": "function", "name": "secret", "parameters": {"type": "object"}}

    async with server.http.post("/v1/responses", json={"model": "a", "input": "Hi", "tools": [tool]}) as reply:
        response = await reply.json()

    assert [(item["type"], item["name"]) for item in response["output"]] == [("function_call", "secret")]


async def test_a_name_that_no_turn_adds_is_the_clients(serve, body):
    server = await serve("ok", agents=(Agent("a"),))

    status, _, _ = await server.post(body(tools=[function("find_tools"), function("read_result")]))

    assert status == 200
    assert sorted(tool.name for tool in server.model.requests[0].tools) == ["find_tools", "read_result"]


@pytest.mark.parametrize(
    ("choice", "offered", "said"),
    [
        ("auto", ["alarm", "weather"], ToolChoice()),
        ("none", [], ToolChoice()),
        ("required", ["alarm", "weather"], ToolChoice("required")),
        (
            {"type": "function", "function": {"name": "alarm"}},
            ["alarm", "weather"],
            ToolChoice("required", "alarm"),
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function("weather")]}},
            ["weather"],
            ToolChoice("required"),
        ),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, [], ToolChoice()),
    ],
)
async def test_tool_choice_concerns_the_clients_tools(serve, body, choice, offered, said):
    server = await serve("ok", agents=(OWN,))

    status, _, answer = await server.post(body(tools=[function("alarm"), function("weather")], tool_choice=choice))

    assert status == 200, answer
    request = server.model.requests[0]
    assert [definition.name for definition in request.tools if definition.name != "secret"] == offered
    assert "secret" in [definition.name for definition in request.tools]
    assert request.tool_choice == said


@pytest.mark.parametrize(("parallel", "made"), [(None, ["Ulm", "Bonn"]), (True, ["Ulm", "Bonn"]), (False, ["Ulm"])])
async def test_a_client_that_takes_one_call_at_a_time_gets_one(serve, body, parallel, made):
    server = await serve((call("secret"), call("weather", city="Ulm"), call("weather", city="Bonn")), agents=(OWN,))

    _, _, answer = await server.post(body(tools=[function("weather")], parallel_tool_calls=parallel))

    calls = answer["choices"][0]["message"]["tool_calls"]
    assert [json.loads(one["function"]["arguments"])["city"] for one in calls] == made


# The round trip.


async def test_a_call_of_a_clients_tool_ends_the_turn_and_its_result_goes_on(serve, body):
    server = await serve(call("weather", city="Ulm"), "It rains")

    _, _, first = await server.post(body(tools=[function("weather")]))
    choice = first["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"type": "function", "id": "call_1", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}
    ]
    _, _, second = await server.post(body(messages=[USER, choice["message"], result("call_1", "rain")]))

    assert second["choices"][0]["message"]["content"] == "It rains"
    assert server.model.requests[1].messages == (
        UserMessage("Hi"),
        AssistantMessage(None, (ToolCall("call_1", FunctionCall("weather", '{"city":"Ulm"}')),)),
        ToolMessage("rain", "call_1"),
    )


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_turn_goes_on_with_what_the_agents_own_tools_said(serve, body, streamed):
    own = AssistantMessage("First I look.", (call("secret"),))
    both = (call("secret"), call("weather", city="Ulm"))
    server = await serve(own, both, "It rains on 42", agents=(OWN,))

    async with server.sdk() as client:
        options = {"model": "a", "messages": [USER], "tools": [function("weather")]}
        if streamed:
            async with client.chat.completions.stream(**options) as stream:
                await stream.until_done()
                message = (await stream.get_final_completion()).choices[0].message
        else:
            message = (await client.chat.completions.create(**options)).choices[0].message
        (made,) = message.tool_calls  # the client sees its own call only
        sent = {"role": "assistant", "content": message.content, "tool_calls": [
            {"id": made.id, "type": "function", "function": {"name": "weather", "arguments": made.function.arguments}}
        ]}  # fmt: skip
        second = await client.chat.completions.create(
            model="a", messages=[USER, sent, result(made.id, "rain")], tools=[function("weather")]
        )

    assert second.choices[0].message.content == "It rains on 42"
    assert server.model.requests[2].messages == (
        UserMessage("Hi"),
        AssistantMessage("First I look.", (ToolCall("call_1", FunctionCall("secret", "{}")),)),
        ToolMessage("the secret is 42", "call_1", "ok"),
        AssistantMessage(
            None,
            (
                ToolCall("call_2", FunctionCall("secret", "{}")),
                ToolCall("call_3", FunctionCall("weather", '{"city":"Ulm"}')),
            ),
        ),
        ToolMessage("the secret is 42", "call_2", "ok"),
        ToolMessage("rain", "call_3"),
    )


async def test_without_its_hidden_steps_the_transcript_is_taken_as_it_was_sent(serve, body):
    server = await serve("ok", agents=(OWN,))
    made = {"id": "call_gone_0", "type": "function", "function": {"name": "weather", "arguments": "{}"}}

    status, _, _ = await server.post(
        body(messages=[USER, {"role": "assistant", "tool_calls": [made]}, result("call_gone_0", "rain")])
    )

    assert status == 200
    assert server.model.requests[0].messages == (
        UserMessage("Hi"),
        AssistantMessage(None, (ToolCall("call_gone_0", FunctionCall("weather", "{}")),)),
        ToolMessage("rain", "call_gone_0"),
    )


async def test_equal_conversations_get_different_ids_so_that_none_sees_the_others_steps(serve, body):
    script = (call("secret"), call("weather", city="Ulm"))
    server = await serve(*script, *script, agents=(OWN,))

    ids = set()
    for _ in range(2):
        _, _, answer = await server.post(body(tools=[function("weather")]))
        ids.add(answer["choices"][0]["message"]["tool_calls"][0]["id"])

    assert len(ids) == 2


# The store of suspended turns.


async def suspended():
    """A turn that hid a step and waits for its client, and the transcript that the client comes back with."""
    from gaia_core import Catalog, Runtime, TurnOptions, scripted
    from gaia_core.tools import define

    options = TurnOptions(client_tools=(define("weather", "", b"{}"),))
    model = scripted(call("secret"), call("weather", city="Ulm"))
    async with Runtime(Catalog.of(OWN, models={"local": model})) as runtime:
        turn = await runtime.once(OWN, TurnRequest(transcript=(UserMessage("Hi"),), options=options))
        ended = await turn.result()
    (call_id,) = client_ids(turn.id, ended.client_calls)
    assistant = AssistantMessage(None, (ToolCall(call_id, ended.client_calls[0].function),))
    return turn, (UserMessage("Hi"), assistant, ToolMessage("rain", call_id))


@pytest.fixture
async def suspended_turn():
    return await suspended()


@pytest.fixture
async def suspended_turns():
    return [await suspended() for _ in range(5)]


async def test_kept_steps_are_restored_as_often_as_the_history_is_sent(suspended_turn):
    turn, transcript = suspended_turn
    store = SuspendedTurns()
    store.keep(turn, OWN, "")

    for _ in range(2):
        restored = store.restored(transcript, OWN, "")
        assert restored == (UserMessage("Hi"), *turn.messages, ToolMessage("rain", "call_2"))


@pytest.mark.parametrize("bounds", [{"entries": 0}, {"most_bytes": 10}])
async def test_the_store_is_bounded(suspended_turn, bounds):
    turn, transcript = suspended_turn
    store = SuspendedTurns(**bounds)
    store.keep(turn, OWN, "")

    assert len(store) == 0
    assert store.restored(transcript, OWN, "") == transcript


@pytest.mark.parametrize("bound", ["entries", "most_bytes"])
async def test_who_keeps_much_pushes_nobody_else_out(suspended_turns, bound):
    (first, transcript), *others = suspended_turns
    size = len(msgspec.json.encode(first.messages))
    store = SuspendedTurns(**{bound: 3 if bound == "entries" else 3 * size})
    store.keep(first, OWN, "ann")

    for turn, _ in others:
        store.keep(turn, OWN, "bob")

    assert len(store) == 3
    assert store.restored(transcript, OWN, "ann") != transcript
    restored = [store.restored(theirs, OWN, "bob") != theirs for _, theirs in others]
    assert restored == [False] * (len(others) - 2) + [True] * 2


async def test_kept_steps_expire(suspended_turn):
    turn, transcript = suspended_turn
    now = 0.0
    store = SuspendedTurns(seconds=10, clock=lambda: now)
    store.keep(turn, OWN, "")
    now = 11.0

    assert store.restored(transcript, OWN, "") == transcript
    assert len(store) == 0


async def test_another_agent_does_not_get_them(suspended_turn):
    turn, transcript = suspended_turn
    store = SuspendedTurns()
    store.keep(turn, OWN, "")

    assert store.restored(transcript, Agent("b"), "") == transcript


async def test_another_owner_does_not_get_them(suspended_turn):
    turn, transcript = suspended_turn
    store = SuspendedTurns(entries=1)
    store.keep(turn, OWN, "ann")

    for other in ("bob", ""):
        assert store.restored(transcript, OWN, other) == transcript
    assert store.restored(transcript, OWN, "ann") != transcript


# The rooms of Anthropic's and Ollama's APIs.

HOSTED = {"type": "web_search_20250305", "name": "web_search"}


def _anthropic(name: object) -> object:
    return {"name": name, "input_schema": {"type": "object"}} if isinstance(name, str) else name


def _ollama(name: object) -> object:
    return function(name) if isinstance(name, str) else name


ROOMS = {
    "/v1/messages": lambda tools, **options: {
        "model": "a",
        "max_tokens": 100,
        "messages": [USER],
        **options,
        "tools": [_anthropic(each) for each in tools],
    },
    "/ollama/api/chat": lambda tools, **options: {
        "model": "a",
        "stream": False,
        "messages": [USER],
        "options": options,
        "tools": [_ollama(each) for each in tools],
    },
}


async def ask_room(server, room: str, tools: tuple = (), **options: object):
    async with server.http.post(room, json=ROOMS[room](tools, **options)) as response:
        return response.status, response.headers.get("x-gaia-ignored"), await response.json()


@pytest.mark.parametrize("room", ROOMS)
async def test_tools_that_no_room_serves_are_named_in_the_header(serve, room):
    server = await serve("ok", "ok", "ok", agents=(Agent("a"), Agent("deaf", client_tools="ignore")))

    assert (await ask_room(server, room, ("weather", HOSTED)))[:2] == (200, "web_search_20250305")
    assert [tool.name for tool in server.model.requests[0].tools] == ["weather"]
    assert (await ask_room(server, room, ("weather",)))[:2] == (200, None)


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize(
    ("mode", "status", "offered"),
    [("merge", 200, ["secret", "weather"]), ("ignore", 200, ["secret"]), ("reject", 400, None), ("strict", 400, None)],
)
async def test_an_agents_client_tools_hold_in_every_room(serve, room, mode, status, offered):
    server = await serve("ok", agents=(attrs.evolve(OWN, client_tools=mode),))
    found, ignored, _ = await ask_room(server, room, ("secret", "weather", HOSTED))

    assert found == status
    assert ignored == ("web_search_20250305" if mode == "merge" else None)
    if offered is not None:
        assert [tool.name for tool in server.model.requests[0].tools] == offered
        theirs = next(tool for tool in server.model.requests[0].tools if tool.name == "secret")
        assert (theirs == OWN.tools.definitions[0]) == (mode == "ignore")


@pytest.mark.parametrize("room", ROOMS)
async def test_sampling_options_of_model_servers_are_forwarded_from_every_room(serve, room):
    server = await serve("ok")
    status, _, _ = await ask_room(server, room, top_k=40, min_p=0.05, repeat_penalty=1.1)

    assert status == 200
    assert server.model.requests[0].sampling.further == (("top_k", "40"), ("min_p", "0.05"), ("repeat_penalty", "1.1"))


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize(("name", "value"), [("top_k", "many"), ("cache_prompt", False), ("id_slot", 1)])
async def test_wrong_ones_and_those_that_reach_into_the_server_are_refused_by_their_path(serve, room, name, value):
    server = await serve("ok")
    status, _, answer = await ask_room(server, room, **{name: value})

    assert status == 400
    words = answer["error"]["message"] if isinstance(answer["error"], dict) else answer["error"]
    assert (name if room == "/v1/messages" else f"options.{name}") in words
