"""The official Node SDK on Responses: what its scenes, run by Node in a process of their own, got from the server."""

import json

import pytest

TOLD = "I was told: the secret number is 42."


@pytest.fixture(scope="module")
def seen(node, server) -> dict:
    """What responses.mjs printed; it ends only when every scene has."""
    return json.loads(node("responses.mjs", server.base_url))


def test_the_agents_own_tool_is_shown_and_the_answer_is_whole(seen):
    assert seen["plain"] == [["mcp_call", "message"], TOLD]
    assert (seen["stream"], seen["helper"]) == (TOLD, TOLD)


def test_a_client_tool_is_called_and_its_result_goes_on(seen):
    assert seen["call"] == ["get_weather", '{"city":"Paris"}']
    assert seen["result"] == "I was told: 21 degrees."


def test_a_form_is_parsed(seen):
    assert seen["parsed"] == {"city": "Paris", "degrees": 21}


def test_a_stored_response_is_retrieved_and_deleted(seen):
    assert seen["retrieved"] == TOLD
    assert seen["deleted"] == ["NotFoundError", 404]


def test_errors_are_the_sdks_own(seen):
    assert seen["unknown"] == ["NotFoundError", 404, "model_not_found"]


def test_what_is_left_or_cancelled_ends(seen, server):
    assert seen["left"] is True
    assert seen["cancelled"] == "cancelled"
    assert server.becomes_idle()
