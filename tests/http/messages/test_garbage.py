"""What is no request, on every route of the Anthropic and the Ollama API: the protocol's envelope, and a server that is
well afterwards."""

import pytest

ROUTES = ("/v1/messages", "/v1/messages/count_tokens", "/ollama/api/chat", "/api/generate", "/ollama/api/show")
BODIES = (
    b"",
    b"{bad",
    b'{"model": "a"} {}',
    b"[]",
    b'"text"',
    b"1",
    b"null",
    b"\xff\xfe",
    b'\xef\xbb\xbf{"model": "a"}',
    b"\x00",
    b'{"model": 1}',
    b'{"model": "\xff"}',
    b'{"model": {"a": NaN}}',
    b'{"model": "a", "messages": ' + b"[" * 1_100 + b"]" * 1_100 + b"}",
    b'{"model": "a", "prompt": "x", "max_tokens": 1, "messages": [], "options": 1, "system": 5, "name": 5}',
    b'{"model": "\\ud800"}',
    b'{"model": "' + b"x" * 10_000 + b'"}',
    b'{"model": "../a"}',
)


@pytest.mark.parametrize("route", ROUTES)
async def test_garbage_has_the_protocols_envelope(serve, post, message, route):
    server = await serve("Still well")

    for body in BODIES:
        async with server.http.post(route, data=body, headers={"content-type": "application/json"}) as response:
            answer = await response.json()
        assert 400 <= response.status < 500, (body, answer)
        if route.startswith("/v1"):
            assert (answer["type"], set(answer)) == ("error", {"type", "error", "request_id"}), body
            assert answer["error"]["type"] in ("invalid_request_error", "not_found_error"), body
        else:
            assert isinstance(answer["error"], str), body

    assert (await post(server, message()))[2]["content"][0]["text"] == "Still well"


@pytest.mark.parametrize("route", ROUTES)
async def test_a_wrong_media_type_and_an_encoded_body_are_a_415(serve, route):
    server = await serve()

    for headers in ({"content-type": "text/plain"}, {"content-type": "application/json", "content-encoding": "gzip"}):
        async with server.http.post(route, data=b"{}", headers=headers) as response:
            assert response.status == 415
            assert "error" in await response.json()


async def test_an_answer_that_is_no_utf_8_is_mended(serve, post, message):
    server = await serve("half \ud800 a pair")

    _, _, answer = await post(server, message())

    assert answer["content"][0]["text"] == "half \ufffd a pair"
