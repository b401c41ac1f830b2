"""POST /v1/embeddings: the vectors of the configured endpoint, as numbers or base64, in the model's slots."""

import array
import base64
import json
from collections.abc import AsyncIterator

import openai
import pytest
from aiohttp import web

from gaia_core import Agent, Catalog, ModelSpec, Runtime, scripted
from gaia_core.models import EndpointConfig, OpenEndpoints


class Endpoint:
    """An endpoint that makes vectors of two numbers: the length of each text, and its place."""

    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.answer: object = None
        self.status = 200
        self.url = ""

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        if self.answer is not None:
            return web.json_response(self.answer, status=self.status)
        texts = body["input"]
        data = [{"index": n, "embedding": [float(len(text)), n + 0.5]} for n, text in enumerate(texts)]
        return web.json_response({"data": data[::-1], "usage": {"prompt_tokens": 7, "total_tokens": 7}})


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    served = Endpoint()
    app = web.Application()
    app.router.add_post("/v1/embeddings", served.embeddings)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"
    yield served
    await runner.cleanup()


@pytest.fixture
async def server(serve, endpoint):
    """A server with an agent's model and one that makes embeddings."""
    spec = ModelSpec(
        "embed", OpenEndpoints((EndpointConfig(url=endpoint.url, model="nomic", retries=0),)), embeddings=True,
        served="nomic",
    )  # fmt: skip
    return await serve("ok", models={"embed": spec})


@pytest.mark.parametrize("model", ["embed", "nomic"])
async def test_the_sdk_asks_for_base64_and_gets_the_endpoints_numbers(server, endpoint, model):
    async with server.sdk() as client:
        made = await client.embeddings.create(model=model, input=["a", "four"])

    assert [item.embedding for item in made.data] == [[1.0, 0.5], [4.0, 1.5]]
    assert [item.index for item in made.data] == [0, 1]
    assert (made.model, made.usage.prompt_tokens, made.usage.total_tokens) == ("embed", 7, 7)
    assert endpoint.asked == [{"model": "nomic", "input": ["a", "four"], "encoding_format": "float"}]


async def test_their_tokens_are_in_the_metrics(server):
    async with server.sdk() as client:
        await client.embeddings.create(model="embed", input=["a", "four"])

    async with server.http.get("/metrics") as response:
        assert 'gaia_tokens_total{kind="input"} 7.0' in await response.text()


@pytest.mark.parametrize("usage", [{}, {"usage": None}, {"usage": {"total_tokens": 0}}])
@pytest.mark.parametrize(("given", "least", "most"), [("word " * 100, 100, 150), ([5] * 80, 80, 80)])
async def test_an_endpoint_that_counts_nothing_is_estimated(server, endpoint, usage, given, least, most):
    endpoint.answer = {"data": [{"index": 0, "embedding": [1.0]}], **usage}

    async with server.sdk() as client:
        made = await client.embeddings.create(model="embed", input=given, encoding_format="float")

    assert least <= made.usage.prompt_tokens <= most


async def test_base64_is_float32_little_endian(server):
    async with server.http.post(
        "/v1/embeddings", json={"model": "embed", "input": "abc", "encoding_format": "base64"}
    ) as r:
        answer = await r.json()

    raw = base64.b64decode(answer["data"][0]["embedding"])
    assert raw == bytes.fromhex("00004040" + "0000003f")
    assert array.array("f", raw).tolist() == [3.0, 0.5]


@pytest.mark.parametrize(
    ("given", "sent"),
    [("abc", ["abc"]), (["a", "b"], ["a", "b"]), ([1, 2, 3], [[1, 2, 3]]), ([[1, 2], [3]], [[1, 2], [3]])],
)
async def test_the_forms_of_input(server, endpoint, given, sent):
    async with server.sdk() as client:
        await client.embeddings.create(model="embed", input=given, encoding_format="float", user="ann")

    assert endpoint.asked[0]["input"] == sent


async def test_dimensions_reach_the_endpoint(server, endpoint):
    async with server.sdk() as client:
        made = await client.embeddings.create(model="embed", input="a", dimensions=2)
        assert len(made.data[0].embedding) == 2
        with pytest.raises(openai.BadRequestError, match="vectors of 2 dimensions, not of 3"):
            await client.embeddings.create(model="embed", input="a", dimensions=3)

    assert [asked["dimensions"] for asked in endpoint.asked] == [2, 3]


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": None}, 400, "model"),
        ({"model": "nobody"}, 404, "model"),
        ({"model": "local"}, 404, "model"),
        ({"input": None}, 400, "input"),
        ({"input": ""}, 400, "input[0]"),
        ({"input": []}, 400, "input"),
        ({"input": ["a", ""]}, 400, "input[1]"),
        ({"input": [[1], []]}, 400, "input[1]"),
        ({"input": [-1]}, 400, "input"),
        ({"input": ["a", 1]}, 400, "input"),
        ({"input": {"a": 1}}, 400, "input"),
        ({"input": ["a"] * 2_049}, 400, "input"),
        ({"input": [1] * 200_000}, 400, "input[0]"),
        ({"dimensions": 0}, 400, "dimensions"),
        ({"dimensions": "two"}, 400, "dimensions"),
        ({"encoding_format": "hex"}, 400, "encoding_format"),
    ],
)
async def test_bad_input(server, endpoint, fields, status, param):
    async with server.http.post("/v1/embeddings", json={"model": "embed", "input": "a", **fields}) as response:
        answer = await response.json()

    assert (response.status, answer["error"]["param"]) == (status, param), answer
    assert endpoint.asked == []


@pytest.mark.parametrize("data", [b"", b"{bad", b"[]", b"\xff", b'{"input": "\\ud800"}', b"[" * 2_000])
async def test_what_is_not_json(server, data):
    headers = {"content-type": "application/json"}
    async with server.http.post("/v1/embeddings", data=data, headers=headers) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_without_such_a_model_the_error_says_what_to_configure(serve):
    server = await serve("ok")

    async with server.sdk() as client:
        with pytest.raises(openai.NotFoundError, match="embeddings = true"):
            await client.embeddings.create(model="text-embedding-3-small", input="a")


@pytest.mark.parametrize(
    ("status", "answer", "told"),
    [
        (200, {"data": []}, 502),
        (200, {"data": [{"embedding": "x"}]}, 502),
        (200, {}, 502),
        (401, {"error": {"message": "no"}}, 502),
        (429, {"error": {"message": "slow"}}, 429),
        (503, {"error": {"message": "busy"}}, 503),
        (400, {"error": {"message": "too long"}}, 400),
    ],
)
async def test_an_endpoint_that_fails(server, endpoint, status, answer, told):
    endpoint.answer, endpoint.status = answer, status

    async with server.http.post("/v1/embeddings", json={"model": "embed", "input": "a"}) as response:
        body = await response.json()

    assert response.status == told, body
    assert [load.busy for load in server.runtime.stats().models] in ([0], [0, 0])


async def test_a_model_without_embeddings_says_so():
    from gaia_core.models import EmbeddingRequest, ModelError

    async with Runtime(Catalog.of(Agent("a"), models={"local": scripted()})) as runtime:
        with pytest.raises(ModelError, match="makes no embeddings"):
            await runtime.models.embed("local", EmbeddingRequest(json.dumps(["a"]).encode(), 1))
