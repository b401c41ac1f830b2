"""The embedded model's port: every user of the machine and every web page in a browser reaches it, and gets nothing."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from gaia_core.messages import UserMessage
from gaia_core.models import ModelRequest, Sampling
from gaia_core.models.embedded import EmbeddedModel

ENVIRON = {"GAIA_CACHE": "unused"}
ROUTES = (
    ("GET", "/v1/models"),
    ("GET", "/models"),
    ("GET", "/props"),
    ("GET", "/slots"),
    ("GET", "/metrics"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/chat/completions/input_tokens"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/embeddings"),
    ("POST", "/completion"),
    ("POST", "/infill"),
    ("POST", "/tokenize"),
    ("POST", "/apply-template"),
    ("POST", "/lora-adapters"),
    ("POST", "/slots/0?action=erase"),
)
ASKED = b'{"messages": [{"role": "user", "content": "Hi"}], "prompt": "Hi", "max_tokens": 1}'


@pytest.fixture
async def model(noise, monkeypatch):
    monkeypatch.setenv("GAIA_API_KEY", "sk-gaia-of-the-server")
    monkeypatch.setenv("MY_ENDPOINT_KEY", "sk-of-an-endpoint")
    monkeypatch.setenv("GAIA_JOURNAL", "postgresql://me:password@db/gaia")
    made = EmbeddedModel(noise, context_tokens=2_048, slots=1, environ=ENVIRON, restart_seconds=0.01)
    async with asyncio.timeout(60):
        async for state in made.states():
            if state.phase == "ready":
                break
    yield made
    await made.aclose()


@pytest.fixture
async def page(model):
    """A client that is not this server, as a web page is, at the model's port."""
    async with aiohttp.ClientSession(model._child.url) as session:
        yield session


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://localhost:4200"])
async def test_nobody_else_is_answered(page, origin):
    headers = {"origin": origin} if origin else {}
    for method, path in ROUTES:
        async with page.request(method, path, data=ASKED if method == "POST" else None, headers=headers) as answer:
            assert (path, answer.status) == (path, 401)


@pytest.mark.parametrize("key", ["", "x", "Bearer", "null"])
async def test_a_guessed_key_is_refused(page, key):
    async with page.post("/v1/chat/completions", data=ASKED, headers={"authorization": f"Bearer {key}"}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://localhost:4200", "http://127.0.0.1:4200"])
async def test_no_page_may_read_an_answer(page, origin):
    asks = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    for method, path in (("OPTIONS", "/v1/chat/completions"), ("GET", "/health"), ("GET", "/v1/models")):
        async with page.request(method, path, headers=asks) as answer:
            assert answer.headers.get("access-control-allow-origin") not in (origin, "*", "null")


async def test_the_server_itself_is_answered(model):
    text = [batch async for batch in model.stream(ModelRequest((UserMessage("Hi"),), sampling=Sampling(max_tokens=2)))]

    assert text


async def test_the_key_is_new_with_every_start(model, noise):
    other = EmbeddedModel(noise, context_tokens=2_048, slots=1, environ=ENVIRON)
    try:
        async with asyncio.timeout(60):
            async for state in other.states():
                if state.phase == "ready":
                    break
        assert other._child.key != model._child.key
    finally:
        await other.aclose()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
async def test_the_key_is_in_no_argument_and_no_variable_and_the_servers_secrets_in_none(model):
    process = Path(f"/proc/{model.pid}")
    arguments, environ = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()

    assert b"_child_process.py" in arguments
    assert b"PATH=" in environ
    for secret in (model._child.key, "sk-gaia-of-the-server", "sk-of-an-endpoint", "password"):
        assert secret.encode() not in arguments + environ


async def test_the_key_is_in_no_repr(model):
    assert model._child.key not in f"{model!r} {model._child!r} {model._model!r} {vars(model._model)!r}"
