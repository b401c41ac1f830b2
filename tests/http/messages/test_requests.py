"""POST /v1/messages: how a request is read, what the model is asked, and errors that name the value at fault."""

import base64
import json

import pytest

from gaia_core import Agent, Context, Toolset, tool
from gaia_core.messages import (
    AssistantMessage,
    FunctionCall,
    ImagePart,
    ImageURL,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from gaia_core.models import Sampling, ToolChoice
from gaia_http.keys import Keyring

PLAIN = "a-key-of-some-length"
PIXEL = "iVBORw0KGgo="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
SHOWN = ImagePart(ImageURL(f"data:image/png;base64,{PIXEL}"))
WEATHER = {"name": "weather", "description": "Tell the weather", "input_schema": {"type": "object"}}
USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Paris"}}
CALL = ToolCall("t1", FunctionCall("weather", '{"city": "Paris"}'))


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "the secret is 42"


def text(said: str, **more: object) -> dict:
    return {"type": "text", "text": said, **more}


def result(content: object, call_id: str = "t1", **more: object) -> dict:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


@pytest.fixture
def asked(serve, post, message):
    """The messages that the model is asked with."""

    async def asked(*messages: dict, **fields: object) -> tuple:
        server = await serve("ok", inputs=("image",))
        body = message(**fields)
        body["messages"] = list(messages)
        status, _, answer = await post(server, body)
        assert status == 200, answer
        return server.model.requests[0].messages

    return asked


def user(*content: object) -> dict:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def assistant(*content: object) -> dict:
    return {"role": "assistant", "content": list(content)}


# The conversation.


@pytest.mark.parametrize(
    "system", ["Be brief.\n\nBe kind.", [text("Be brief.", cache_control={"type": "ephemeral"}), text("Be kind.")]]
)
async def test_instructions_are_text_or_blocks(asked, system):
    assert await asked(user("Hi"), system=system) == (SystemMessage("Be brief.\n\nBe kind."), UserMessage("Hi"))


async def test_blocks_of_text_are_one_text(asked):
    assert await asked(user(text("Hi"), text("there"))) == (UserMessage("Hi\n\nthere"),)


async def test_messages_of_one_role_in_a_row_are_one(asked):
    said = await asked(user("Hi"), user("there"), assistant(text("Yes")), user("Go"))

    assert said == (UserMessage("Hi\n\nthere"), AssistantMessage("Yes"), UserMessage("Go"))


async def test_images_reach_the_model(asked):
    assert await asked(user(text("What is this?"), IMAGE)) == (UserMessage((TextPart("What is this?"), SHOWN)),)


async def test_results_follow_their_calls_and_what_else_is_said_follows_them(asked):
    said = await asked(
        user("Hi"),
        assistant(text("I look."), USE, {**USE, "id": "t2"}),
        user(result("sun"), result([text("no"), text("data")], "t2", is_error=True), text("Hurry!")),
    )

    assert said[1:] == (
        AssistantMessage("I look.", (CALL, ToolCall("t2", CALL.function))),
        ToolMessage("sun", "t1"),
        ToolMessage("no\n\ndata", "t2", "error"),
        AssistantMessage("[No answer yet.]"),
        UserMessage("Hurry!"),
    )


async def test_a_result_without_content_is_empty(asked):
    said = await asked(user("Hi"), assistant(USE), user({"type": "tool_result", "tool_use_id": "t1"}))

    assert said[1:] == (AssistantMessage(None, (CALL,)), ToolMessage("", "t1"))


async def test_images_of_a_result_are_shown_behind_it(asked):
    said = await asked(user("Hi"), assistant(USE), user(result([text("a map"), IMAGE])))

    assert said[2:] == (
        ToolMessage((TextPart("a map"),), "t1"),
        AssistantMessage("[No answer yet.]"),
        UserMessage((TextPart("Attached to the result of the call t1:"), SHOWN)),
    )


async def test_thoughts_go_back_to_the_model_but_not_what_the_agent_did(asked):
    said = await asked(
        user("Hi"),
        assistant(
            {"type": "thinking", "thinking": "Hm.", "signature": "gaia:reasoning"},
            {"type": "thinking", "thinking": "→ secret()", "signature": "gaia:activity"},
            {"type": "redacted_thinking", "data": "x"},
            USE,
        ),
        user(result("sun")),
    )

    assert said[1] == AssistantMessage(None, (CALL,), reasoning_content="Hm.")


async def test_documents_are_read_as_files(asked):
    source = {"type": "text", "media_type": "text/plain", "data": "the text"}
    encoded = {"type": "base64", "media_type": "text/plain", "data": base64.b64encode(b"more").decode()}
    blocks = {"type": "content", "content": [text("in blocks"), IMAGE]}
    search = {"type": "search_result", "source": "doc/a", "title": "A", "content": [text("found")]}

    (said,) = await asked(
        user(
            {"type": "document", "source": source, "title": "notes", "context": "Mine."},
            {"type": "document", "source": encoded},
            {"type": "document", "source": blocks},
            search,
        )
    )

    texts = [part.text for part in said.content if isinstance(part, TextPart)]
    assert texts == [
        "Mine.",
        '<file name="notes">\nthe text\n</file>',
        '<file name="file">\nmore\n</file>',
        "in blocks",
        "A\ndoc/a\nfound",
    ]
    assert SHOWN in said.content


# Options.


async def test_sampling_reaches_the_model(serve, post, message):
    server = await serve("ok")

    await post(
        server,
        message(
            temperature=0.5,
            top_p=0.9,
            stop_sequences=["END", "STOP"],
            output_config={"effort": "max"},
            metadata={"user_id": "u"},
            service_tier="auto",
            cache_control={"type": "ephemeral"},
            context_management={"edits": []},
        ),
        **{"anthropic-beta": "context-management-2025-06-27,unknown-beta"},
    )

    assert server.model.requests[0].sampling == Sampling(
        temperature=0.5, top_p=0.9, stop=("END", "STOP"), reasoning_effort="high", max_tokens=100
    )


@pytest.mark.parametrize(
    ("choice", "mode", "parallel"),
    [
        (None, ToolChoice(), None),
        ({"type": "auto"}, ToolChoice(), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        ({"type": "tool", "name": "weather"}, ToolChoice("required", "weather"), None),
    ],
)
async def test_a_choice_among_the_clients_tools(serve, post, message, choice, mode, parallel):
    server = await serve("ok")

    await post(server, message(tools=[{**WEATHER, "type": "custom", "cache_control": {}}], tool_choice=choice))

    request = server.model.requests[0]
    assert (request.tool_choice, request.parallel_tool_calls) == (mode, parallel)
    assert json.loads(request.tools[0].encoded)["function"] == {
        "name": "weather",
        "description": "Tell the weather",
        "parameters": {"type": "object"},
    }


async def test_no_client_tool_is_offered_where_none_is_chosen(serve, post, message):
    server = await serve("ok")

    await post(server, message(tools=[WEATHER], tool_choice={"type": "none"}))

    assert server.model.requests[0].tools == ()


async def test_tokens_are_counted_with_the_agents_own_words_and_tools(serve, sdk):
    agent = Agent("a", instructions="Be brief.", tools=Toolset("tools", (secret,)))
    server = await serve(agents=(Agent("b"), agent))
    client = sdk(server)
    messages = [{"role": "user", "content": "Hi"}]

    plain = await client.messages.count_tokens(model="b", messages=messages)
    full = await client.messages.count_tokens(model="a", messages=messages)
    more = await client.messages.count_tokens(model="b", messages=messages, system="A long sentence.", tools=[WEATHER])

    assert 0 < plain.input_tokens < full.input_tokens
    assert plain.input_tokens < more.input_tokens
    assert server.model.requests == []


# Errors.


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_tokens": None}, "max_tokens is missing"),
        ({"max_tokens": 0}, "max_tokens: 0 is less than 1"),
        ({"max_tokens": "9"}, 'max_tokens: expected `int | null`, got `str` ("9")'),
        ({"model": None}, "model is missing"),
        ({"messages": None}, "messages is missing"),
        ({"messages": []}, "messages is empty"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role: 'tool' is not one of"),
        ({"messages": [{"role": "user"}]}, "messages[0]: object missing required field `content`"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content has no blocks"),
        ({"messages": [user({"type": "video"})]}, "messages[0].content[0].type: 'video' is not accepted"),
        ({"messages": [user({"type": "text"})]}, "messages[0].content[0].text is missing"),
        ({"messages": [user({"type": "image"})]}, "messages[0].content[0].source is missing"),
        (
            {"messages": [user({**IMAGE, "source": {**IMAGE["source"], "data": "!"}})]},
            "messages[0].content[0].source.data: the base64 data is broken",
        ),
        (
            {"messages": [user({"type": "image", "source": {"type": "url", "url": "file:///x"}})]},
            "messages[0].content[0].source.url: 'file:///x' is neither",
        ),
        (
            {"messages": [user("Hi"), assistant(USE), user(result("x", "t9"))]},
            "messages[2].content[0].tool_use_id: 't9'",
        ),
        ({"messages": [user(result("x"))]}, "messages[0].content[0].tool_use_id: 't1' is not a call"),
        ({"messages": [assistant({**USE, "input": "x"})]}, "messages[0].content[0].input: must be an object"),
        ({"system": [IMAGE]}, "system[0].type: 'image' is not accepted"),
        ({"tools": [{"description": "x"}]}, "tools[0].name is missing"),
        ({"tools": [{**WEATHER, "name": "a b"}]}, "tools[0].name: 'a b' must be"),
        ({"tools": [{**WEATHER, "input_schema": 1}]}, "tools[0].input_schema: must be a JSON schema"),
        ({"tool_choice": {"type": "any"}}, "tool_choice.type: 'required' needs tools"),
        ({"tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name: there is no tool 'x'"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type: 'some' is not one of"),
        ({"thread": {"type": "create"}}, "thread: threads are not kept here"),
        ({"thinking": {"type": "deep"}}, "thinking.type: 'deep' is not one of"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort: 'huge' is not one of"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type: 'xml' is not supported"),
    ],
)
async def test_bad_input_is_an_error_that_names_the_values_path(serve, post, message, fields, words):
    server = await serve("ok", inputs=("image",))

    status, headers, answer = await post(server, message() | fields)

    assert status == 400
    assert answer["type"] == "error"
    assert answer["error"]["type"] == "invalid_request_error"
    assert words in answer["error"]["message"]
    assert answer["request_id"] == headers["request-id"]
    assert server.model.requests == []


async def test_an_image_for_a_model_that_takes_none_is_refused_by_its_path(serve, post, message):
    server = await serve("ok")

    status, _, answer = await post(server, message([IMAGE]))

    assert status == 400
    assert answer["error"]["message"].startswith("messages[0].content[0]: the model 'local'")


async def test_what_is_no_json_and_what_is_not_there(serve, post, message):
    server = await serve("ok")

    async with server.http.post("/v1/messages", data=b"{", headers={"content-type": "application/json"}) as response:
        broken = response.status, (await response.json())["error"]["type"]
    unknown = await post(server, message(model="nobody"))
    elsewhere = await post(server, message(), "/v1/messages/batches")
    async with server.http.get("/v1/messages") as response:
        method = response.status, (await response.json())["type"]

    assert broken == (400, "invalid_request_error")
    assert (unknown[0], unknown[2]["error"]["type"]) == (404, "not_found_error")
    assert unknown[2]["error"]["details"] == {"error_code": "model_not_found"}
    assert (elsewhere[0], elsewhere[2]["error"]["type"]) == (404, "not_found_error")
    assert method == (405, "error")


async def test_keys_are_taken_from_x_api_key(serve, sdk, post, message):
    server = await serve("ok", keyring=Keyring(plain=PLAIN))

    refused = await post(server, message(), **{"x-api-key": "wrong-key-0123456789"})
    answer = await sdk(server, api_key=PLAIN).messages.create(
        model="a", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
    )

    assert (refused[0], refused[2]["error"]["type"]) == (401, "authentication_error")
    assert refused[2]["request_id"].startswith("req_")
    assert answer.content[0].text == "ok"


# Models.


async def test_models_have_anthropics_shape_when_its_version_is_sent(serve, sdk):
    server = await serve(agents=(Agent("a"), Agent("b/c"), Agent("d")))
    client = sdk(server)

    page = await client.models.list(limit=2)
    everything = [model.id async for model in page]
    one = await client.models.retrieve("b/c")
    before = await client.models.list(before_id="d", limit=1)

    assert everything == ["a", "b/c", "d"]
    assert (page.has_more, page.first_id, page.last_id) == (True, "a", "b/c")
    assert (one.id, one.type, one.display_name) == ("b/c", "model", "b/c")
    assert one.created_at.year >= 2024
    assert [model.id for model in before.data] == ["b/c"]


async def test_models_keep_openais_shape_without_it(serve):
    server = await serve()

    async with server.http.get("/v1/models") as response:
        assert (await response.json())["object"] == "list"


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "after_id=nobody"])
async def test_a_wrong_page_is_an_error(serve, query):
    server = await serve()

    async with server.http.get(f"/v1/models?{query}", headers={"anthropic-version": "2023-06-01"}) as response:
        answer = await response.json()

    assert (response.status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert answer["error"]["message"].startswith(query.split("=")[0])


async def test_messages_of_one_role_that_follow_each_other_are_one(asked):
    """As Anthropic reads them (source: the Messages API's reference, `messages`)."""
    said = await asked(
        {"role": "user", "content": "One"},
        {"role": "user", "content": [text("Two")]},
        {"role": "assistant", "content": "Three"},
        {"role": "user", "content": "Four"},
    )

    assert [type(each) for each in said] == [UserMessage, AssistantMessage, UserMessage]
    assert said[0] == UserMessage("One\n\nTwo")


async def test_a_result_may_come_in_the_second_of_a_users_messages(asked):
    said = await asked(
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [USE]},
        {"role": "user", "content": "Here it is."},
        {"role": "user", "content": [result("rain")]},
    )

    assert [type(each) for each in said[:3]] == [UserMessage, AssistantMessage, ToolMessage]
    assert said[-1] == UserMessage("Here it is.")


async def test_tools_that_anthropic_runs_are_not_offered_to_the_model(serve, post, message):
    server = await serve("ok", agents=(Agent("a"),))
    searching = {"type": "web_search_20250305", "name": "web_search"}

    status, headers, _ = await post(server, message(tools=[searching, WEATHER]))

    assert status == 200
    assert [each.name for each in server.model.requests[0].tools] == ["weather"]
    assert "web_search_20250305" in headers["x-gaia-ignored"]
