"""Bad input gets its envelope, and leaves the server well."""

import io
import json

import pytest

from gaia_http import Settings

USER = {"role": "user", "content": "Hi"}


@pytest.fixture
async def server(serve):
    server = await serve("still well")
    yield server
    status, _, answer = await server.post({"model": "a", "messages": [USER]})
    assert (status, answer["choices"][0]["message"]["content"]) == (200, "still well")


def function(name: str, **fields: object) -> dict:
    return {"type": "function", "function": {"name": name, **fields}}


def calls(*ids: str) -> dict:
    made = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": made}


def result(**fields: object) -> dict:
    return {"role": "tool", "content": "x", **fields}


def schema(name: str, **fields: object) -> dict:
    return {"type": "json_schema", "json_schema": {"name": name, "schema": fields}}


# Bodies that are no request.


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"  ", "it is empty"),
        (b"{bad", "object keys must be strings"),
        (b'{"model": "a"', "truncated"),
        (b"{} trailing", "trailing characters"),
        (b'\xef\xbb\xbf{"model": "a"}', "byte order mark"),
        ('{"model": "a"}'.encode("utf-16"), "not UTF-8"),
        (b'{"model": "\xff"}', "byte 11 is not UTF-8"),
        (b'{"other": "\xff"}', "not UTF-8"),
        (b'{"model": "a", "temperature": NaN}', "invalid character"),
        (b'{"model": "a", "temperature": Infinity}', "invalid character"),
    ],
)
async def test_what_is_not_json(server, data, words):
    status, _, answer = await server.post(data=data)

    assert status == 400
    assert answer["error"]["code"] == "invalid_json"
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["param"] is None
    assert words in answer["error"]["message"]


@pytest.mark.parametrize("data", [b"[]", b'"text"', b"7", b"null"])
async def test_what_is_no_object(server, data):
    status, _, answer = await server.post(data=data)

    assert (status, answer["error"]["code"]) == (400, "invalid_type")


# Fields of a wrong kind: `param` is the path of the value, and the message shows it.


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "(7)"),
        ({"messages": "Hi"}, "messages", '("Hi")'),
        ({"messages": [USER, {"content": "x"}]}, "messages[1]", "`role`"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0]", "`type`"),
        ({"temperature": "hot"}, "temperature", '("hot")'),
        ({"max_tokens": 1.5}, "max_tokens", "(1.5)"),
        ({"stream": "yes"}, "stream", '("yes")'),
        ({"stop": 1}, "stop", "(1)"),
        ({"metadata": {"k": 1}}, "metadata", "one of its values is wrong: expected `str`"),
        ({"logit_bias": {"50256": "no"}}, "logit_bias", "float"),
        ({"tools": [{"type": "function", "function": {"name": 7}}]}, "tools[0].function.name", "(7)"),
        ({"tools": {}}, "tools", "array"),
        ({"tool_choice": 7}, "tool_choice", "(7)"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function", "`name`"),
        ({"response_format": "json"}, "response_format", '("json")'),
        ({"stream_options": True}, "stream_options", "(true)"),
    ],
)
async def test_wrong_types(server, body, fields, param, words):
    status, _, answer = await server.post(body(**fields))

    assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, param, "invalid_type")
    assert words in answer["error"]["message"]


@pytest.mark.parametrize("number", ["1e999", "9" * 5_000, "-1e999"])
@pytest.mark.parametrize("field", ["temperature", "seed", "max_tokens"])
async def test_numbers_out_of_range(server, number, field):
    data = f'{{"model": "a", "messages": [], "{field}": {number}}}'.encode()

    status, _, answer = await server.post(data=data)

    assert (status, answer["error"]["param"]) == (400, field)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "missing_required_parameter"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "system", "content": None}]}, "messages[0].content", "missing_required_parameter"),
        ({"n": 2}, "n", "unsupported_value"),
        ({"n": 0}, "n", "unsupported_value"),
        ({"logprobs": True}, "logprobs", "unsupported_value"),
        ({"top_logprobs": 3}, "top_logprobs", "unsupported_value"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
        ({"functions": [{"name": "f"}]}, "functions", "unsupported_value"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": -(2**62)}, "max_completion_tokens", "integer_below_min_value"),
        ({"max_tokens": 0, "max_completion_tokens": 9}, "max_tokens", "integer_below_min_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata", None),
        ({"metadata": {"k" * 65: "x"}}, "metadata", None),
        ({"metadata": {"k": "x" * 513}}, "metadata", None),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": [1]}}},
            "response_format.json_schema.schema",
            "invalid_json_schema",
        ),
        ({"response_format": schema("no good")}, "response_format.json_schema.name", "invalid_value"),
    ],
)
async def test_values_that_are_missing_or_not_supported(server, body, fields, param, code):
    status, _, answer = await server.post(body(**fields))

    assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, param, code)


# Parts.


@pytest.mark.parametrize(
    ("role", "part", "param", "code"),
    [
        ("user", {"type": "video_url", "video_url": {"url": "x"}}, "type", "unsupported_content_type"),
        ("user", {"type": "refusal", "refusal": "x"}, "type", "unsupported_content_type"),
        ("system", {"type": "image_url", "image_url": {"url": "https://x"}}, "type", "unsupported_content_type"),
        ("assistant", {"type": "input_audio"}, "type", "unsupported_content_type"),
        ("user", {"type": "text"}, "text", "missing_required_parameter"),
        ("user", {"type": "image_url"}, "image_url", "missing_required_parameter"),
        ("user", {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "image_url.url", "invalid_value"),
        ("user", {"type": "image_url", "image_url": {"url": "data:image/png,raw"}}, "image_url.url", "invalid_value"),
        (
            "user",
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,@@@"}},
            "image_url.url",
            "invalid_value",
        ),
        (
            "user",
            {"type": "input_audio", "input_audio": {"data": "=", "format": "wav"}},
            "input_audio.data",
            "invalid_value",
        ),
        ("user", {"type": "file", "file": {}}, "file", None),
    ],
)
async def test_parts_that_cannot_be_taken(server, body, role, part, param, code):
    messages = [{"role": role, "content": [{"type": "text", "text": "x"}, part]}]

    status, _, answer = await server.post(body(messages=messages))

    path = f"messages[0].content[1].{param}"
    assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, path, code)


# Results of tools.


@pytest.mark.parametrize(
    ("messages", "index", "words"),
    [
        ([USER, calls("c1"), result(tool_call_id="c2")], 2, "'c2' is not a call"),
        ([USER, result(tool_call_id="c1")], 1, "'c1' is not a call"),
        ([USER, calls("c1"), USER, result(tool_call_id="c1")], 3, "'c1' is not a call"),
        ([USER, calls("c1"), result(tool_call_id="c1"), result(tool_call_id="c1")], 3, "already has a result"),
        ([USER, calls("c1"), result()], 2, "is missing"),
        ([USER, calls("c1"), result(tool_call_id=None)], 2, "is missing"),
    ],
)
async def test_results_that_answer_no_call(server, body, messages, index, words):
    status, _, answer = await server.post(body(messages=messages))

    assert (status, answer["error"]["param"]) == (400, f"messages[{index}].tool_call_id")
    assert words in answer["error"]["message"]


async def test_two_calls_of_one_id(server, body):
    status, _, answer = await server.post(body(messages=[USER, calls("c", "c")]))

    assert (status, answer["error"]["param"]) == (400, "messages[1].tool_calls")


async def test_ids_may_come_again_in_a_later_message(serve, body):
    server = await serve("ok")
    messages = [USER, calls("c"), result(tool_call_id="c"), calls("c"), result(tool_call_id="c")]

    status, _, _ = await server.post(body(messages=messages))

    assert status == 200


# Tools.


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([function("")], "tools[0].function.name"),
        ([function("no spaces")], "tools[0].function.name"),
        ([function("x" * 65)], "tools[0].function.name"),
        ([function("f"), function("f")], "tools[1].function.name"),
        ([{"type": "function"}], "tools[0].function"),
        ([{"type": "function", "function": None}], "tools[0].function"),
        ([function("f", parameters=[])], "tools[0].function.parameters"),
        ([function("f", parameters={"description": "x" * 1_000_000})], "tools[0].function.parameters"),
        ([function(f"f{n}") for n in range(10_000)], "tools"),
    ],
)
async def test_tools_that_cannot_be_taken(server, body, tools, param):
    status, _, answer = await server.post(body(tools=tools))

    assert (status, answer["error"]["param"]) == (400, param)


async def test_schemas_are_passed_on_unread(serve, body):
    server = await serve("ok")
    schema = {"$ref": "#", "pattern": "(a+)+$", "properties": {"x": {"$ref": "#"}}}

    status, _, _ = await server.post(body(tools=[function("f", parameters=schema)]))

    assert status == 200
    assert json.loads(server.model.requests[0].tools[0].parameters) == schema


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ("sometimes", "tool_choice"),
        ({"type": "function", "function": {"name": "g"}}, "tool_choice.function.name"),
        ({"type": "custom"}, "tool_choice"),
        ({"type": "function", "name": "f"}, "tool_choice.function"),
        ({"type": "allowed_tools", "mode": "auto", "tools": []}, "tool_choice.allowed_tools"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "maybe"}}, "tool_choice.allowed_tools.mode"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required"}}, "tool_choice.allowed_tools.mode"),
        (
            {"type": "allowed_tools", "allowed_tools": {"tools": [function("g")]}},
            "tool_choice.allowed_tools.tools[0].function.name",
        ),
    ],
)
async def test_choices_that_cannot_be_made(server, body, choice, param):
    status, _, answer = await server.post(body(tools=[function("f")], tool_choice=choice))

    assert (status, answer["error"]["param"]) == (400, param)


async def test_a_required_tool_where_there_is_none(server, body):
    status, _, answer = await server.post(body(tool_choice="required"))

    assert (status, answer["error"]["param"]) == (400, "tool_choice")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"type": "objekt"}, "objekt"),
        ({"$ref": "#/$defs/nothing"}, "leads nowhere"),
        ({"$ref": "http://169.254.169.254/latest"}, "nothing is fetched"),
        ({"$ref": "file:///etc/passwd"}, "nothing is fetched"),
        ({"$schema": "http://127.0.0.1:1/mine"}, "meta-schema"),
        ({"pattern": "^(?=a)a$"}, "no lookaround"),
        ({"pattern": "(a{1000}){1000}"}, "not too large"),
        ({"properties": {f"p{n}": {"pattern": "a"} for n in range(101)}}, "101 patterns"),
        ({"$defs": {"a": {"$anchor": "a"}}}, "$anchor"),
    ],
    ids=repr,
)
async def test_a_schema_that_can_not_be_checked_is_refused_before_a_model_is_asked(server, body, asked, words):
    status, _, answer = await server.post(body(response_format=schema("x", **asked)))

    error = answer["error"]
    assert (status, error["param"]) == (400, "response_format.json_schema.schema"), answer
    assert error["code"] == "invalid_json_schema"
    assert words in error["message"]
    assert server.model.requests == []


async def test_a_schema_of_a_megabyte(server, body):
    status, _, answer = await server.post(body(response_format=schema("x", description="d" * 1_000_000)))

    assert (status, answer["error"]["param"]) == (400, "response_format.json_schema.schema")


# Size.


async def test_only_a_system_message_is_a_request(serve, body):
    server = await serve("ok")

    status, _, _ = await server.post(body(messages=[{"role": "system", "content": "Greet me"}]))

    assert status == 200


async def test_a_hundred_thousand_messages(server, body):
    status, _, answer = await server.post(data=io.BytesIO(json.dumps(body(messages=[USER] * 100_000)).encode()))

    assert (status, answer["error"]["param"]) == (400, "messages")


async def test_strings_may_hold_nul(serve, body):
    server = await serve("ok")

    status, _, _ = await server.post(body("a\0b"))

    assert status == 200
    assert server.model.requests[0].messages[0].content == "a\0b"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large(serve, body, chunked):
    server = await serve("ok", settings=Settings(max_body_bytes=100_000))
    data = json.dumps(body("x" * 200_000)).encode()

    async def pieces():
        for start in range(0, len(data), 50_000):
            yield data[start : start + 50_000]

    status, _, answer = await server.post(data=pieces() if chunked else data)

    assert (status, answer["error"]["code"]) == (413, "request_too_large")
    assert (await server.post(body()))[0] == 200


async def test_a_body_that_trickles(serve):
    import asyncio

    server = await serve("ok", settings=Settings(body_seconds=0.02))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")

    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


@pytest.mark.parametrize(
    "headers",
    [{"content-type": "text/plain"}, {"content-type": "multipart/form-data; boundary=x"}, {"content-encoding": "gzip"}],
)
async def test_a_body_that_is_not_plain_json(server, body, headers):
    status, _, answer = await server.post(data=json.dumps(body()).encode(), headers=headers)

    assert (status, answer["error"]["code"]) == (415, "unsupported_media_type")


# Names.


@pytest.mark.parametrize("model", ["b", "../a", "a\0", "x" * 10_000, ""])
async def test_an_unknown_model(server, body, model):
    status, _, answer = await server.post(body() | {"model": model})

    assert (status, answer["error"]["code"], answer["error"]["param"]) == (404, "model_not_found", "model")
    assert len(answer["error"]["message"]) < 300


@pytest.mark.parametrize("session", ["", "a b", "x" * 129, "../x"])
async def test_a_session_id_that_is_none(server, body, session):
    status, _, answer = await server.post(body(), headers={"X-Session-Id": session})

    assert (status, answer["error"]["param"]) == (400, "X-Session-Id")
