"""A redirect is followed on the same host, and never takes a conversation to another one."""

import pytest

from gaia_core.models import Endpoint, EndpointConfig


@pytest.mark.parametrize("status", [307, 308])
async def test_a_conversation_does_not_go_to_another_host(upstream, wire, fails, status):
    other = await upstream(wire.answer("stolen"))
    there = await upstream(wire.says(status=status, headers=(("location", f"{other.url}/chat/completions?key=sk-1"),)))
    model = Endpoint(EndpointConfig(url=there.url, model="m", retries=0))
    error, _ = await fails(model)
    await model.aclose()

    assert other.asked == []
    assert (error.kind, error.status, error.retryable) == ("bad_request", status, False)
    assert f"a redirect to {other.url.removesuffix('/v1')}, which is not followed" in str(error)
    assert "sk-1" not in str(error)


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_would_change_the_request_is_not_followed(upstream, wire, fails, status):
    there = await upstream(wire.says(status=status, headers=(("location", "/v1/chat/completions"),)))
    model = Endpoint(EndpointConfig(url=there.url, model="m", retries=0))
    error, _ = await fails(model)
    await model.aclose()

    assert len(there.asked) <= 2  # by the plain client, and by the one that speaks redirects
    assert error.status == status


async def test_redirects_without_end_end(upstream, wire, fails):
    there = await upstream(wire.says(status=307, headers=(("location", "/v1/chat/completions"),)))
    model = Endpoint(EndpointConfig(url=there.url, model="m", retries=0))
    error, _ = await fails(model)
    await model.aclose()

    assert error.status == 307
    assert len(there.asked) <= 7
