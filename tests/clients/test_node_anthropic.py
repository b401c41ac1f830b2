"""Anthropic's official Node SDK: what its scenes, run by Node in a process of their own, got from the server."""

import json

import pytest

TOLD = "I was told: the secret number is 42."


@pytest.fixture(scope="module")
def seen(node, server) -> dict:
    """What messages.mjs printed; it ends only when every scene has."""
    return json.loads(node("messages.mjs", server.url))


def test_the_agents_own_tool_runs_unseen(seen):
    assert (seen["plain"], seen["stream"], seen["helper"]) == (TOLD, TOLD, TOLD)
    assert seen["stop"] == "end_turn"
    assert seen["deltas"] >= 1
    assert seen["usage"] == 10


def test_the_agents_own_tool_is_shown_as_thinking(seen):
    assert seen["thinking"] == "→ secret()\n← the secret number is 42\n"


def test_a_client_tool_is_called_and_run(seen):
    assert seen["call"] == {"name": "get_weather", "input": {"city": "Paris"}, "stop": "tool_use"}
    assert seen["inputs"] >= 1
    assert (seen["result"], seen["run"], seen["streamedRun"]) == ("I was told: 21 degrees in Paris.",) * 3


def test_tokens_are_counted(seen):
    assert seen["tokens"] > 0


def test_a_response_has_its_request_id(seen):
    assert seen["raw"] == [200, "req_"]


def test_errors_are_the_sdks_own(seen):
    assert seen["unknown"] == ["NotFoundError", 404, "not_found_error"]
    kind, message = seen["broken"]
    assert kind == "BadRequestError"
    assert "the model broke, as it was asked" in message


def test_a_stream_that_is_left_or_aborted_is_cancelled(seen, server):
    assert seen["left"] is True
    assert seen["aborted"] == "APIUserAbortError"
    assert server.becomes_idle()


def test_the_agents_are_listed_as_models(seen):
    assert seen["models"] == ["a", "gpt-6-astra"]
    assert seen["model"] == "a"
