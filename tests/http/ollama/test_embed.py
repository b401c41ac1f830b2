"""POST /api/embed and /api/embeddings by the official `ollama` package, below /ollama and at the root."""

from collections.abc import AsyncIterator

import ollama
import pytest

from gaia_core import ModelSpec
from gaia_core.models import EmbeddingRequest, Embeddings, ModelError


class Vectors:
    """A model that makes vectors of two numbers."""

    def __init__(self) -> None:
        self.asked: list[EmbeddingRequest] = []
        self.error: ModelError | None = None

    async def stream(self, _request):
        raise AssertionError("no text is asked for")
        yield

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        return Embeddings(tuple((float(n), 0.5) for n in range(request.count)), 7)


@pytest.fixture
def vectors() -> Vectors:
    return Vectors()


@pytest.fixture(params=["", "/ollama"])
async def client(serve, vectors, request) -> AsyncIterator[ollama.AsyncClient]:
    spec = ModelSpec("embed", lambda: vectors, embeddings=True, served="nomic")
    server = await serve("ok", models={"embed": spec})
    made = ollama.AsyncClient(host=f"{server.url}{request.param}")
    yield made
    await made.close()


@pytest.mark.parametrize("model", ["embed", "embed:latest", "nomic"])
async def test_vectors_of_several_texts(client, vectors, model):
    made = await client.embed(model, ["a", "b"], dimensions=2)

    assert [list(each) for each in made.embeddings] == [[0.0, 0.5], [1.0, 0.5]]
    assert (made.model, made.prompt_eval_count) == (model, 7)
    assert made.total_duration >= 0
    assert vectors.asked == [EmbeddingRequest(b'["a","b"]', 2, 2)]


async def test_the_vector_of_one_text_in_both_forms(client):
    assert [list(each) for each in (await client.embed("embed", "a")).embeddings] == [[0.0, 0.5]]
    assert list((await client.embeddings("embed", "a")).embedding) == [0.0, 0.5]


async def test_an_empty_text_loads_the_model_and_has_no_vector(client, vectors):
    assert list((await client.embed("embed", "")).embeddings) == []
    assert list((await client.embeddings("embed", "")).embedding) == []
    assert vectors.asked == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "none", "input": "a"}, 404, "there is no model 'none' that makes embeddings; there are embed"),
        ({"model": "a", "input": "a"}, 404, "there is no model 'a' that makes embeddings"),
        ({"model": "embed"}, 400, "input"),
        ({"model": "embed", "input": ["a", ""]}, 400, "input[1]"),
        ({"model": "embed", "input": ["a", 5]}, 400, "input"),
        ({"model": "embed", "input": "a", "dimensions": 0}, 400, "dimensions"),
        ({"input": "a"}, 400, "model"),
    ],
)
async def test_errors_are_in_ollamas_envelope(serve, vectors, body, status, words):
    server = await serve("ok", models={"embed": ModelSpec("embed", lambda: vectors, embeddings=True)})
    for path in ("/api/embed", "/ollama/api/embed"):
        async with server.http.post(path, json=body) as response:
            answer = await response.json()
        assert response.status == status
        assert words in answer["error"]  # a text, as its clients read it


async def test_a_failure_of_the_model_is_an_error(client, vectors):
    vectors.error = ModelError("bad_request", "the input is too long", status=400)
    with pytest.raises(ollama.ResponseError, match="the input is too long"):
        await client.embed("embed", "a")
