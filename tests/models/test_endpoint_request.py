"""What an endpoint is sent: the request as the API has it, and a key that nobody else sees."""

import json
import logging

import pytest

from gaia_core.errors import ConfigError
from gaia_core.messages import (
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    ImagePart,
    ImageURL,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from gaia_core.models import Endpoint, EndpointConfig, ModelRequest, ResponseFormat, Sampling, ToolChoice
from gaia_core.models.endpoint._request_body import request_body
from gaia_core.tools import tool

KEY = "sk-0123456789/abcdef"


@tool(effects="read")
def read_file(path: str) -> str:
    """Read a file."""


async def sent(endpoint, ask, request: ModelRequest, **config: object) -> dict:
    model, there = await endpoint(**config)
    await ask(model, request)
    return there.asked[0].body


async def test_the_whole_request_reaches_the_endpoint(endpoint, ask):
    request = ModelRequest(
        (
            SystemMessage("Be brief."),
            UserMessage((TextPart("What is this?"), ImagePart(ImageURL("data:image/png;base64,AA==")))),
            AssistantMessage(None, (ToolCall("c1", FunctionCall("read_file", '{"path": "a"}')),)),
            ToolMessage("contents", "c1"),
            AssistantMessage("It is a.", reasoning_content="I looked."),
            UserMessage("Thanks", name="ann"),
        ),
        tools=(read_file.definition,),
        tool_choice=ToolChoice(name="read_file"),
        parallel_tool_calls=False,
        response_format=ResponseFormat("json_schema", b'{"type":"object"}', strict=True),
        sampling=Sampling(
            temperature=0.5,
            top_p=0.9,
            stop=("a", "b"),
            seed=7,
            presence_penalty=0.1,
            frequency_penalty=0.2,
            logit_bias=(("5", 1.0),),
            reasoning_effort="low",
            max_tokens=100,
        ),
        session_key="never sent",
    )
    assert await sent(endpoint, ask, request, extra='{"top_k": 40}') == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "type": "function",
                        "id": "c1",
                        "function": {"name": "read_file", "arguments": '{"path": "a"}'},
                    }
                ],
            },
            {"role": "tool", "content": "contents", "tool_call_id": "c1"},
            {"role": "assistant", "content": "It is a."},
            {"role": "user", "content": "Thanks", "name": "ann"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["a", "b"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "logit_bias": {"5": 1.0},
        "reasoning_effort": "low",
        "max_tokens": 100,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "read_file",
                    "description": "Read a file.",
                    "parameters": {
                        "type": "object",
                        "properties": {"path": {"type": "string"}},
                        "required": ["path"],
                        "additionalProperties": False,
                    },
                },
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "read_file"}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "response", "schema": {"type": "object"}, "strict": True},
        },
        "top_k": 40,
    }


async def test_what_is_not_asked_for_is_not_sent(endpoint, ask, hi):
    assert set(await sent(endpoint, ask, hi)) == {"model", "messages", "stream", "stream_options"}


async def test_equal_requests_are_equal_bytes(endpoint, ask, hi):
    model, there = await endpoint()
    await ask(model, hi)
    await ask(model, hi)
    assert there.asked[0].raw == there.asked[1].raw


async def test_developer_messages_are_sent_as_system_messages(endpoint, ask):
    body = await sent(endpoint, ask, ModelRequest((DeveloperMessage("Be brief.", "dev"), UserMessage("Hi"))))
    assert body["messages"][0] == {"role": "system", "content": "Be brief.", "name": "dev"}


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (AssistantMessage(None, refusal="No."), "No."),
        (AssistantMessage("", refusal="No."), "No."),
        (AssistantMessage("I thought.", refusal="No.", reasoning_content="Hm"), "I thought.\n\nNo."),
        (
            AssistantMessage((TextPart("I thought."), RefusalPart("No."))),
            [{"type": "text", "text": "I thought."}, {"type": "text", "text": "No."}],
        ),
        (
            AssistantMessage((TextPart("I thought."),), refusal="No."),
            [{"type": "text", "text": "I thought."}, {"type": "text", "text": "No."}],
        ),
    ],
)
async def test_a_refusal_is_sent_as_what_was_said(endpoint, ask, message, content):
    """Endpoints of local models refuse other parts, and messages of nothing."""
    body = await sent(endpoint, ask, ModelRequest((UserMessage("Hi"), message, UserMessage("Why?"))))
    assert body["messages"][1] == {"role": "assistant", "content": content}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice(), None),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("required", "read_file"), {"type": "function", "function": {"name": "read_file"}}),
    ],
)
async def test_the_tool_choice_is_sent_with_tools_only(endpoint, ask, hi, choice, expected):
    offered = ModelRequest(hi.messages, (read_file.definition,), choice)
    assert (await sent(endpoint, ask, offered)).get("tool_choice") == expected
    without = ModelRequest(hi.messages, (), choice, parallel_tool_calls=True)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(await sent(endpoint, ask, without))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (ResponseFormat("json_object"), {"type": "json_object"}),
        (
            ResponseFormat("json_schema", b"{}", "x"),
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        ),
    ],
)
async def test_the_response_format_is_sent(endpoint, ask, hi, form, expected):
    body = await sent(endpoint, ask, ModelRequest(hi.messages, response_format=form))
    assert body["response_format"] == expected


async def test_half_a_surrogate_pair_in_a_conversation_is_sent_as_a_mark(endpoint, ask):
    request = ModelRequest((UserMessage("Hi"), ToolMessage("caf\udce9.txt", "c1")))
    body = await sent(endpoint, ask, request)
    assert body["messages"][1] == {"role": "tool", "content": "caf\ufffd.txt", "tool_call_id": "c1"}


async def test_extra_members_win(endpoint, ask, hi):
    body = await sent(endpoint, ask, hi, extra='{"stream_options": null, "chat_template_kwargs": {"a": 1}}')
    assert body["stream_options"] is None
    assert body["chat_template_kwargs"] == {"a": 1}


# The key.


async def test_the_key_is_read_when_a_request_is_sent(endpoint, ask, monkeypatch):
    model, there = await endpoint(api_key_env="THE_KEY")
    for key in ("first-key", "  second-key\n"):
        monkeypatch.setenv("THE_KEY", key)
        await ask(model)
    assert [asked.headers["authorization"] for asked in there.asked] == ["Bearer first-key", "Bearer second-key"]


async def test_without_a_key_none_is_sent(endpoint, ask, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model, there = await endpoint()
    await ask(model)
    assert "authorization" not in there.asked[0].headers


@pytest.mark.parametrize("value", [None, "", "  "])
async def test_a_key_that_is_not_set_is_an_error_that_names_its_variable(endpoint, fails, monkeypatch, value):
    model, there = await endpoint(api_key_env="THE_KEY")
    monkeypatch.delenv("THE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("THE_KEY", value)
    error, _ = await fails(model)
    assert error.kind == "auth"
    assert "THE_KEY" in str(error)
    assert there.asked == []


@pytest.mark.parametrize("value", ["sk\r\nx-evil: 1", "sk\tx", "ключ", "sk\udcff"])
async def test_what_can_be_no_key_is_not_sent(endpoint, fails, monkeypatch, value):
    model, there = await endpoint(api_key_env="THE_KEY")
    monkeypatch.setenv("THE_KEY", value)
    error, _ = await fails(model)
    assert error.kind == "auth"
    assert "THE_KEY" in str(error)
    assert value not in str(error)
    assert there.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda wire: wire.fails(401, {"message": f"Incorrect API key provided: {KEY}."}), id="401"),
        pytest.param(lambda wire: wire.fails(400, f"<html>{KEY}</html>".encode()), id="400 in HTML"),
        pytest.param(lambda wire: wire.fails(400, {"code": KEY}), id="400 without a message"),
        pytest.param(lambda wire: wire.fails(500, {"message": KEY}), id="500, tried again"),
        pytest.param(lambda wire: wire.says(wire.event({"error": {"message": f"bad {KEY}"}})), id="in the stream"),
        pytest.param(lambda wire: wire.says(f"data: bad {KEY}\n\n".encode()), id="no JSON in the stream"),
        pytest.param(lambda wire: wire.says(wire.event({"choices": KEY})), id="no chunk in the stream"),
        pytest.param(
            lambda wire: wire.says(wire.event({"error": KEY})[6:], media="application/json"), id="all at once"
        ),
        pytest.param(lambda wire: wire.says(KEY.encode(), wire.RESET), id="reset"),
        pytest.param(lambda wire: wire.says(KEY.encode() + b"\r\n\r\n", raw=True), id="no HTTP"),
    ],
)
async def test_a_key_is_in_no_error_and_no_log_even_when_it_is_echoed(
    endpoint, fails, wire, monkeypatch, caplog, answer
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("THE_KEY", KEY)
    model, there = await endpoint(answer(wire), api_key_env="THE_KEY", retries=1)
    error, told = await fails(model)
    assert there.asked[0].headers["authorization"] == f"Bearer {KEY}"
    shown = [str(error), repr(error), repr(error.__dict__), repr(told), caplog.text, repr(model), repr(model.config)]
    chained: BaseException | None = error
    while chained is not None and not chained.__suppress_context__:
        chained = chained.__context__
        shown.append(repr(chained))
    assert not [text for text in shown if KEY in text]


async def test_a_key_is_not_listed_with_the_models_either(endpoint, monkeypatch):
    monkeypatch.setenv("THE_KEY", KEY)
    model, there = await endpoint(api_key_env="THE_KEY")
    assert await model.models() == ("first", "second")
    assert there.lists[0]["authorization"] == f"Bearer {KEY}"


# The configuration.


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://h/v1",
        "http://",
        "http:///v1",
        "http://[::1/v1",
        "http://h:port/v1",
        "http://h:99999/v1",
        "file:///etc/passwd",
    ],
)
def test_a_url_names_a_host(url):
    with pytest.raises(ConfigError, match="http://"):
        EndpointConfig(url=url)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hush@h/v1",
        "http://hush@h/v1",
        "ftp://user:hush@h/v1",
        "http://user:hu/sh@h/v1",
        "https://h/v1?key=hush",
        "https://h/v1#hush",
    ],
)
def test_a_url_holds_no_key_and_none_is_shown(url):
    with pytest.raises(ConfigError, match="api_key_env") as caught:
        EndpointConfig(url=url)
    assert "hush" not in str(caught.value)
    assert "sh@" not in str(caught.value)


@pytest.mark.parametrize("extra", ["", "[]", "{", '"a"', "null"])
def test_extra_members_are_a_json_object(extra):
    with pytest.raises(ConfigError, match="extra"):
        EndpointConfig(url="http://h/v1", extra=extra)


def test_equal_configurations_are_equal_values():
    one, other = (EndpointConfig(url="http://h/v1/", model="m") for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one.base == "http://h/v1"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://10.0.0.1/v1", False),
        ("http://localhost.example/v1", False),
    ],
)
def test_loopback_is_known(url, expected):
    assert EndpointConfig(url=url).is_loopback is expected


async def test_making_an_endpoint_connects_nothing():
    model = Endpoint(EndpointConfig(url="http://127.0.0.1:9/v1"))
    assert "127.0.0.1:9" in repr(model)
    await model.aclose()


@pytest.mark.parametrize(
    ("name", "local", "members"),
    [
        ("max_tokens", True, {"max_tokens": 7}),
        ("max_tokens", False, {"max_tokens": 7}),
        ("max_completion_tokens", True, {"max_tokens": 7, "max_completion_tokens": 7}),
        ("max_completion_tokens", False, {"max_completion_tokens": 7}),
    ],
)
def test_a_limit_keeps_the_name_that_its_client_used(name, local, members):
    """OpenAI refuses both names together; a local server may know `max_tokens` only."""
    request = ModelRequest((UserMessage("Hi"),), sampling=Sampling(max_tokens=7, limit_name=name))

    sent = json.loads(request_body(request, "m", "{}", local=local))

    assert {key: value for key, value in sent.items() if key.startswith("max_")} == members


def test_further_options_are_members_of_the_body():
    request = ModelRequest((UserMessage("Hi"),), sampling=Sampling(further=(("top_k", "40"), ("reasoning", "{}"))))

    sent = json.loads(request_body(request, "m", '{"top_k": 5}'))

    assert (sent["top_k"], sent["reasoning"]) == (5, {}), "what is configured holds"
    assert not {"further", "limit_name"} & set(sent)


async def test_each_owner_has_a_salt_of_its_own_that_does_not_name_it(endpoint, ask, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    hello = (UserMessage("Hi"),)

    async def salt(owner: str, **config: object) -> str | None:
        body = await sent(endpoint, ask, ModelRequest(hello, owner=owner), **config)
        return body.get("cache_salt")

    salts = [await salt(owner, cache_salt=True, api_key_env="MY_KEY") for owner in ("", "key_1", "key_2", "key_1")]
    assert salts[1] == salts[3]
    assert len(set(salts)) == 3
    assert all(len(salt or "") == 64 for salt in salts)
    assert await salt("key_1", cache_salt=True) not in salts, "it depends on the endpoint's key"
    assert await salt("key_1") is None


def test_a_salt_for_all_and_one_for_each_owner_exclude_each_other():
    with pytest.raises(ConfigError, match="extra must not set cache_salt"):
        EndpointConfig(url="http://127.0.0.1:1", extra='{"cache_salt": "x"}', cache_salt=True)
