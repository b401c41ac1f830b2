"""Bad input to every route of both APIs that takes a body: its envelope, no 500, no hang, nothing left behind."""

import json
import re

import pytest

NO_REQUESTS = {
    "empty": b"",
    "blank": b" \n ",
    "broken": b"{bad",
    "cut off": b'{"model": "a"',
    "trailing": b"{} trailing",
    "array": b"[]",
    "string": b'"text"',
    "number": b"7",
    "not utf-8": b'{"model": "\xff", "session_id": "\xff", "title": "\xff"}',
    "not utf-8 elsewhere": b'{"other": "\xff"}',
    "byte order mark": b'\xef\xbb\xbf{"model": "a"}',
    "utf-16": '{"model": "a"}'.encode("utf-16"),
    "NaN": b'{"model": NaN, "session_id": NaN, "title": NaN, "private": NaN}',
    "surrogate": b'{"model": "\\ud800", "session_id": "\\ud800", "title": "\\ud800", "input": "\\ud800"}',
}
VALUES = {
    "number": 7,
    "huge float": 1e308,
    "text": "text",
    "nul": "a\0b",
    "long text": "x" * 10_000,
    "path": "../../etc/passwd",
    "array": [[[]]],
    "object": {"a": {"b": {}}},
    "bool": True,
    "null": None,
}
FIELDS = (
    "model", "messages", "input", "session_id", "message", "title", "tools", "tool_choice", "stream", "instructions",
    "previous_response_id", "conversation", "metadata", "document_ids", "private", "agent_type", "message_id", "value",
    "confirm_id", "request_id", "approved", "scope", "custom_model", "session", "document_id", "store", "background",
    "response_format", "text", "include", "encoding_format", "dimensions", "items", "max_tokens", "stop", "logit_bias",
)  # fmt: skip
NUMBERS = ("1e999", "-1e999", "9" * 5_000, "1" + "0" * 400, "-0.0", "0.1e-999")


@pytest.mark.parametrize("name", NO_REQUESTS)
async def test_what_is_no_request(server, ask, routes, name):
    for method, path in await routes(server):
        answer = await ask(server, method, path, NO_REQUESTS[name])

        optional = name in ("empty", "blank") and (path.startswith("/api") or path == "/v1/conversations")
        assert answer.is_refusal or (optional and answer.status == 200), (method, path, answer)


@pytest.mark.parametrize("name", VALUES)
async def test_fields_of_a_wrong_kind(server, ask, routes, name):
    body = json.dumps(dict.fromkeys(FIELDS, VALUES[name])).encode()
    for method, path in await routes(server):
        answer = await ask(server, method, path, body)

        assert answer.is_refusal or answer.status == 200, (method, path, answer)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:8])
async def test_numbers_that_no_field_takes(server, ask, routes, number):
    body = ("{" + ",".join(f'"{field}": {number}' for field in FIELDS) + "}").encode()
    for method, path in await routes(server):
        answer = await ask(server, method, path, body)

        assert answer.is_refusal or answer.status == 200, (method, path, answer)


@pytest.mark.parametrize(
    "headers",
    [
        (("content-type", "text/plain"),),
        (("content-type", "application/x-www-form-urlencoded"),),
        (("content-type", "multipart/form-data; boundary=x"),),
        (("content-type", "\x80\xff"),),
        (("content-type", "application/json"), ("content-encoding", "gzip")),
        (("content-type", "application/json"), ("content-encoding", "br, gzip")),
    ],
)
async def test_bodies_of_a_wrong_kind(server, ask, routes, headers):
    for method, path in await routes(server):
        answer = await ask(server, method, path, b'{"model": "a"}', headers=headers)

        assert answer.is_refusal, (method, path, answer)


async def test_paths_and_methods_that_are_none(server, ask):
    for path in ("/v1/nope", "/api/nope", "/v1/../../x", "/v1/%00", "/v1/models/%ff", "/v1/models/" + "x" * 10_000):
        assert (await ask(server, "GET", path)).is_refusal, path
    for path in ("/v1/chat/completions", "/api/chat/send"):
        for method in ("PATCH", "DELETE", "PUT"):
            answer = await ask(server, method, path)
            assert answer.is_refusal, (method, path)
            assert answer.status == 405
    for method in ("BREW", "get"):
        assert (await ask(server, method, "/v1/models")).status in (400, 405)


async def test_ids_that_nothing_has(server, ask):
    for document in ("/v1/openapi.json", "/api/openapi.json"):
        for path, methods in (await ask(server, "GET", document)).body["paths"].items():
            if "{" not in path:
                continue
            for given in ("x", "..%2f..%2fetc%2fpasswd", "%00", "%ff%fe", "x" * 5_000, "-1", "9" * 400):
                for method in methods:
                    body = b"{}" if method in ("post", "put", "patch") else None
                    answer = await ask(server, method.upper(), re.sub(r"\{\w+\}", given, path), body)

                    assert answer.is_refusal, (method, path, given[:40], answer)
