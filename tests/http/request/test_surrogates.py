"""Half of a surrogate pair in a request is named where it stands, and isn't called truncated JSON."""

import json

import pytest

from gaia_http.request._surrogates import lone_surrogate


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (r'{"a": "\ud800"}', "a"),
        (r'{"a": "\udc00"}', "a"),
        (r'{"a": "x\uD83D"}', "a"),
        (r'{"a": "\ud800\u0041"}', "a"),
        (r'{"a": "\ud83d\ude00\ude00"}', "a"),
        (r'{"a": [1, {"b": "ok"}, {"c": ["x", "\ud800"]}]}', "a[2].c[1]"),
        (r'{"a": "[{,", "b": {"c": "\ud800"}}', "b.c"),
        (r'{"a": "\\\ud800"}', "a"),
        (r'"\ud800"', ""),
        (r'{"a": "\ud83d\ude00"}', None),
        (r'{"a": "\\ud800"}', None),
        (r'{"a": "\\\\ud800"}', None),
        ('{"a": "ud800"}', None),
        ("{", None),
    ],
)
def test_the_place_of_a_lone_surrogate(document, place):
    assert lone_surrogate(document.encode()) == place


@pytest.mark.parametrize(
    ("path", "data", "param"),
    [
        (
            "/v1/chat/completions",
            r'{"model": "a", "messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "\ud800"}]}',
            "messages[1].content",
        ),
        ("/v1/responses", r'{"model": "a", "input": [{"role": "user", "content": "cut \ud83d"}]}', "input[0].content"),
        ("/v1/responses", r'{"model": "a", "input": "Hi", "metadata": {"k": "\udc00"}}', "metadata.k"),
    ],
)
async def test_a_request_says_where_it_is(serve, path, data, param):
    server = await serve()

    async with server.http.post(path, data=data.encode(), headers={"content-type": "application/json"}) as reply:
        answer = await reply.json()

    assert (reply.status, answer["error"]["param"], answer["error"]["code"]) == (400, param, "lone_surrogate")
    assert answer["error"]["message"].startswith(f"{param}: half of a surrogate pair")


async def test_a_whole_pair_is_a_character(serve, body):
    server = await serve("ok")

    data = json.dumps(body("\N{GRINNING FACE}")).encode()
    status, _, _ = await server.post(data=data)

    assert status == 200
    assert server.model.requests[0].messages[0].content == "\N{GRINNING FACE}"
