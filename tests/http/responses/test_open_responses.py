"""The 17 cases of the Open Responses compliance suite, each as a test of our own, over a real server.

Source: the suite's templates and the schema that it validates answers with (github.com/openresponses/openresponses:
ResponseResource, ItemField, CompactResource). Where a value may not be null there, null fails here.
"""

import json

import jsonschema_rs
import pytest

from gaia_core import Agent, ScriptedModel, Toolset, call, tool
from gaia_core.events import TextDelta
from gaia_core.models import Finished, ModelError, ToolCallDelta

_TEXT, _NUMBER, _COUNT, _FLAG = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}
_PHASE = {"enum": ["commentary", "final_answer"]}


def _or_null(schema: dict) -> dict:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(required: dict, optional: dict | None = None) -> dict:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


_STATUS = {"enum": ["in_progress", "completed", "incomplete"]}
_PART = {
    "anyOf": [
        _object({"type": {"const": "output_text"}, "text": _TEXT, "annotations": {"type": "array"}}),
        _object({"type": {"const": "summary_text"}, "text": _TEXT}),
        _object({"type": {"const": "refusal"}, "refusal": _TEXT}),
    ]
}
_ITEM = {
    "anyOf": [
        _object(
            {
                "type": {"const": "message"},
                "id": _TEXT,
                "status": _STATUS,
                "role": {"const": "assistant"},
                "content": {"type": "array", "items": _PART},
            },
            {"phase": _PHASE},
        ),
        _object(
            {
                "type": {"const": "function_call"},
                "id": _TEXT,
                "call_id": _TEXT,
                "name": _TEXT,
                "arguments": _TEXT,
                "status": _STATUS,
            }
        ),
        _object({"type": {"const": "reasoning"}, "id": _TEXT, "summary": {"type": "array", "items": _PART}}),
        _object({"type": {"const": "compaction"}, "id": _TEXT, "encrypted_content": _TEXT}),
    ]
}
_TOOL = _object(
    {
        "type": {"const": "function"},
        "name": _TEXT,
        "description": _or_null(_TEXT),
        "parameters": _or_null({"type": "object"}),
        "strict": _or_null(_FLAG),
    }
)
_USAGE = _object(
    {
        "input_tokens": _COUNT,
        "output_tokens": _COUNT,
        "total_tokens": _COUNT,
        "input_tokens_details": _object({"cached_tokens": _COUNT}),
        "output_tokens_details": _object({"reasoning_tokens": _COUNT}),
    }
)
_FORMAT = _object(
    {"type": {"enum": ["text", "json_object", "json_schema"]}},
    {"name": _TEXT, "description": _TEXT, "strict": _FLAG},
)
_RESPONSE = _object(
    {
        "id": _TEXT,
        "object": {"const": "response"},
        "created_at": _COUNT,
        "completed_at": _or_null(_COUNT),
        "status": _TEXT,
        "incomplete_details": _or_null(_object({"reason": _TEXT})),
        "model": _TEXT,
        "previous_response_id": _or_null(_TEXT),
        "instructions": _or_null(_TEXT),
        "output": {"type": "array", "items": _ITEM},
        "error": _or_null(_object({"code": _TEXT, "message": _TEXT})),
        "tools": {"type": "array", "items": _TOOL},
        "tool_choice": {"anyOf": [{"enum": ["none", "auto", "required"]}, {"type": "object"}]},
        "truncation": {"enum": ["auto", "disabled"]},
        "parallel_tool_calls": _FLAG,
        "text": _object({"format": _FORMAT}, {"verbosity": {"enum": ["low", "medium", "high"]}}),
        "top_p": _NUMBER,
        "presence_penalty": _NUMBER,
        "frequency_penalty": _NUMBER,
        "top_logprobs": _COUNT,
        "temperature": _NUMBER,
        "reasoning": _or_null(_object({"effort": _or_null(_TEXT), "summary": _or_null(_TEXT)})),
        "usage": _or_null(_USAGE),
        "max_output_tokens": _or_null(_COUNT),
        "max_tool_calls": _or_null(_COUNT),
        "store": _FLAG,
        "background": _FLAG,
        "service_tier": _TEXT,
        "metadata": {"type": "object"},
        "safety_identifier": _or_null(_TEXT),
        "prompt_cache_key": _or_null(_TEXT),
    },
    {"prompt_cache_options": {"type": "object"}},
)
_EVENT = _object(
    {"type": _TEXT, "sequence_number": _COUNT},
    {
        "response": _RESPONSE,
        "item": _ITEM,
        "part": _PART,
        "item_id": _TEXT,
        "output_index": _COUNT,
        "content_index": _COUNT,
        "delta": _TEXT,
        "error": _object({"type": _TEXT, "code": _TEXT, "message": _TEXT, "param": _or_null(_TEXT)}),
    },
)
_COMPACTED = _object(
    {
        "id": _TEXT,
        "object": {"const": "response.compaction"},
        "created_at": _COUNT,
        "output": {"type": "array", "items": _ITEM, "minItems": 1},
        "usage": _USAGE,
    }
)
_ENDS = ("response.completed", "response.incomplete", "error")
"""The last event of a response; behind `response.failed` comes an error."""

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
HEART = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def valid(value: dict, schema: dict) -> dict:
    """*value*, if it is valid by *schema*."""
    problems = [
        f"{'.'.join(map(str, error.instance_path))}: {error.message}"
        for error in jsonschema_rs.validator_for(schema).iter_errors(value)
    ]
    assert not problems
    return value


def said(content: object, role: str = "user", **fields: object) -> dict:
    return {"type": "message", "role": role, "content": content, **fields}


async def asked(server, input: object, **fields: object) -> dict:
    """The whole response to *input*: completed, with output."""
    async with server.http.post("/v1/responses", json={"model": "a", "input": input, **fields}) as reply:
        response = await reply.json()
        assert reply.status == 200, response
    valid(response, _RESPONSE)
    assert (response["status"], bool(response["output"])) == ("completed", True)
    return response


class Socket:
    """A connection whose events are checked."""

    def __init__(self, socket) -> None:
        self._socket = socket

    async def create(self, input: object, **fields: object) -> list[dict]:
        """The events of one response, or the error."""
        await self._socket.send_json({"type": "response.create", "model": "a", "input": input, **fields})
        events: list[dict] = []
        while not events or events[-1]["type"] not in _ENDS:
            events.append(valid(json.loads((await self._socket.receive()).data), _EVENT))
        return events

    async def completed(self, input: object, **fields: object) -> dict:
        """The response at its end."""
        events = await self.create(input, **fields)
        response = events[-1]["response"]
        assert (response["status"], bool(response["output"])) == ("completed", True)
        return response

    async def refused(self, input: object, **fields: object) -> str:
        """The code of the error."""
        events = await self.create(input, **fields)
        assert events[-1]["type"] == "error"
        return events[-1]["error"]["code"]


@pytest.fixture
def connected():
    def connected(server):
        return server.http.ws_connect("/v1/responses")

    return connected


# HTTP.


async def test_basic_response(serve):
    await asked(await serve("Hello there, friend"), [said("Say hello in exactly 3 words.")])


async def test_streaming_response(serve, stream):
    events = await stream(await serve("1, 2, 3, 4, 5"), [said("Count from 1 to 5.")])

    for event in events:
        valid(event, _EVENT)
    assert events[-1]["response"]["status"] == "completed"


async def test_system_prompt(serve):
    server = await serve("Ahoy!")

    await asked(server, [said("You are a pirate.", "system"), said("Say hello.")])

    assert "You are a pirate." in [message.content for message in server.model.requests[0].messages]


async def test_tool_calling(serve):
    response = await asked(
        await serve(call("get_weather", location="San Francisco, CA")), [said("Weather?")], tools=[WEATHER]
    )

    assert "function_call" in [item["type"] for item in response["output"]]


async def test_image_input(serve):
    server = await serve("A red heart.", inputs=("image",))

    await asked(server, [said([{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": HEART}])])

    assert len(server.model.requests[0].messages[-1].content) == 2


async def test_multi_turn(serve):
    await asked(
        await serve("Alice"), [said("My name is Alice."), said("Hello Alice!", "assistant"), said("What is my name?")]
    )


async def test_assistant_phase(serve):
    server = await serve("Four")
    sent = [
        said("I should answer with the saved number.", "assistant", phase="commentary"),
        said("The number is four.", "assistant", phase="final_answer"),
        said("Repeat only the number."),
    ]

    response = await asked(server, sent)

    async with server.http.get(f"/v1/responses/{response['id']}/input_items?order=asc") as reply:
        kept = (await reply.json())["data"]
    assert [item.get("phase") for item in kept] == ["commentary", "final_answer", None]


async def test_a_phase_that_there_is_not_is_named(serve, ask):
    status, answer = await ask(await serve(), [said("Hm", "assistant", phase="thinking"), said("Hi")])

    assert (status, answer["error"]["param"]) == (400, "input[0].phase")


async def test_output_phase_schema(serve, stream):
    """What is said before a client's call is commentary, what ends the turn is the answer; streamed or not."""
    words = (TextDelta("I look it up."), ToolCallDelta(0, "c1", "get_weather", '{"location":"Ulm"}'))
    server = await serve((*words, Finished("tool_calls")), "It rains.")

    first = await stream(server, "Weather?", tools=[WEATHER])
    call_id = first[-1]["response"]["output"][1]["call_id"]
    output = {"type": "function_call_output", "call_id": call_id, "output": "rain"}
    second = await asked(server, [output], previous_response_id=first[-1]["response"]["id"])

    done = [event["item"] for event in first if event["type"] == "response.output_item.done"]
    assert done[0]["phase"] == "commentary"
    assert valid(first[-1]["response"], _RESPONSE)["output"][0]["phase"] == "commentary"
    assert [item["phase"] for item in second["output"]] == ["final_answer"]


async def test_what_is_said_before_an_own_call_is_commentary(serve):
    @tool
    def look() -> str:
        """Look."""
        return "rain"

    words = (TextDelta("I look it up."), ToolCallDelta(0, "c1", "look", "{}"), Finished("tool_calls"))
    server = await serve(words, "It rains.", agents=(Agent("a", tools=Toolset("t", (look,))),))

    async with server.http.post("/v1/responses", json={"model": "a", "input": "Weather?"}) as reply:
        response = await reply.json()

    phases = [item["phase"] for item in response["output"] if item["type"] == "message"]
    assert phases == ["commentary", "final_answer"]


async def compacted(server, input: object) -> dict:
    async with server.http.post(
        "/v1/responses/compact", json={"model": "a", "input": input, "prompt_cache_key": "open-responses"}
    ) as reply:
        assert reply.status == 200
        return valid(await reply.json(), _COMPACTED)


async def test_compaction(serve):
    found = await compacted(
        await serve("Launch on Tuesday, tell support first."),
        [said("We agreed to launch on Tuesday."), said("Understood.", "assistant")],
    )

    assert [item["type"] for item in found["output"]] == ["compaction"]


async def test_compaction_without_a_model(serve):
    server = await serve()

    async with server.http.post("/v1/responses/compact", json={"input": [said("Compact this.")]}) as reply:
        answer = await reply.json()

    assert (reply.status, answer["error"]["param"]) == (400, "model")
    assert server.model.requests == []


# WebSocket.


async def test_websocket_response(serve, connected):
    server = await serve("1, 2, 3")

    async with connected(server) as socket:
        await Socket(socket).completed([said("Count from 1 to 3.")])


async def test_websocket_sequential_responses(serve, connected):
    server = await serve("first", "second")

    async with connected(server) as socket:
        connection = Socket(socket)
        for word in ("first", "second"):
            response = await connection.completed(f"Reply with exactly: {word}", store=False)
            assert response["output"][0]["content"][0]["text"] == word


async def test_websocket_continuation(serve, connected):
    server = await serve("OK", "cobalt")

    async with connected(server) as socket:
        connection = Socket(socket)
        first = await connection.completed("Remember the code word: cobalt.", store=False)
        await connection.completed("Which word?", store=False, previous_response_id=first["id"])

    assert [message.content for message in server.model.requests[1].messages][-3:] == [
        "Remember the code word: cobalt.",
        "OK",
        "Which word?",
    ]


async def test_websocket_missing_previous_response(serve, connected):
    server = await serve()

    async with connected(server) as socket:
        code = await Socket(socket).refused("Hi", store=False, previous_response_id="resp_openresponses_missing")

    assert code == "previous_response_not_found"


async def test_websocket_failed_continuation_evicts_the_response(serve, connected):
    server = await serve("OK", "stale")
    orphan = {"type": "function_call_output", "call_id": "call_openresponses_missing", "output": "nothing"}

    async with connected(server) as socket:
        connection = Socket(socket)
        first = await connection.completed("Remember the code word: ember.", store=False)
        failed = await connection.create([orphan], store=False, previous_response_id=first["id"])
        code = await connection.refused("Go on", store=False, previous_response_id=first["id"])

    assert failed[-1]["type"] == "error"
    assert code == "previous_response_not_found"


@pytest.mark.parametrize("lane", [{}, {"stream_id": "one"}])
async def test_websocket_a_turn_that_fails_evicts_the_response_of_another_lane(serve, connected, lane):
    def model(request):
        if len(request.messages) > 1:
            raise ModelError("server", "out of order")
        return "OK"

    server = await serve(ScriptedModel(model))

    async with connected(server) as socket:
        connection = Socket(socket)
        first = await connection.completed("Hi", store=False, **lane)
        await connection.create("Go on", store=False, previous_response_id=first["id"], stream_id="other")
        code = await connection.refused("Go on", store=False, previous_response_id=first["id"], **lane)

    assert code == "previous_response_not_found"


async def test_websocket_recovery_after_a_reconnect(serve, connected):
    server = await serve("OK", "recovered")

    async with connected(server) as socket:
        first = await Socket(socket).completed("Remember the code word: copper.", store=False)
    async with connected(server) as socket:
        connection = Socket(socket)
        code = await connection.refused("Go on", store=False, previous_response_id=first["id"])
        await connection.completed([said("Start anew.")], store=False)

    assert code == "previous_response_not_found"


async def test_websocket_a_new_chain_after_compaction(serve, connected):
    server = await serve("The code word is slate.", "compacted")
    found = await compacted(
        server,
        [
            said([{"type": "input_text", "text": "Remember the compaction code word: slate."}]),
            said([{"type": "output_text", "text": "OK."}], "assistant"),
            said([{"type": "input_text", "text": "Compress this conversation."}]),
        ],
    )

    async with connected(server) as socket:
        await Socket(socket).completed([*found["output"], said("Continue from here.")], store=False, tools=[])

    assert "slate" in str(server.model.requests[1].messages)


# What the schema says beyond the cases.


async def test_sampling_options_are_numbers_and_reach_the_model(serve):
    server = await serve("ok", "ok")

    plain = await asked(server, "Hi")
    told = await asked(server, "Hi", temperature=0.2, top_p=0.5, presence_penalty=0.1, frequency_penalty=-0.1)

    names = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
    assert [plain[name] for name in names] == [1.0, 1.0, 0.0, 0.0]
    assert [told[name] for name in names] == [0.2, 0.5, 0.1, -0.1]
    assert [[getattr(request.sampling, name) for name in names] for request in server.model.requests] == [
        [None] * 4,
        [0.2, 0.5, 0.1, -0.1],
    ]


async def test_a_format_without_a_description_has_none(serve):
    form = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}

    plain = await asked(await serve("{}"), "Hi", text={"format": form})
    told = await asked(await serve("{}"), "Hi", text={"format": form | {"description": "An answer"}})

    assert "description" not in plain["text"]["format"]
    assert told["text"]["format"]["description"] == "An answer"
