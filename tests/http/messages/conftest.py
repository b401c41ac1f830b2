"""What the tests of POST /v1/messages need: the official SDK on a running server, and raw requests."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import anthropic
import pytest

VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture
async def sdk() -> AsyncIterator[Callable[..., anthropic.AsyncAnthropic]]:
    """The official SDK, asynchronous, for a server."""
    async with AsyncExitStack() as stack:
        clients = []

        def sdk(server: object, **options: object) -> anthropic.AsyncAnthropic:
            given = {"api_key": "unused", "max_retries": 0} | options
            client = anthropic.AsyncAnthropic(base_url=server.url, **given)
            clients.append(client)
            stack.push_async_callback(client.close)
            return client

        yield sdk


@pytest.fixture
def message() -> Callable[..., dict]:
    """The body of a request."""

    def message(content: object = "Hi", **fields: object) -> dict:
        return {"model": "a", "max_tokens": 100, "messages": [{"role": "user", "content": content}], **fields}

    return message


@pytest.fixture
def post() -> Callable:
    """The status, the headers and the decoded JSON of a request."""

    async def post(server: object, body: object, path: str = "/v1/messages", **headers: str):
        async with server.http.post(path, json=body, headers=VERSION | headers) as response:
            return response.status, response.headers, await response.json()

    return post
