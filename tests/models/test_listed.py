"""What an endpoint lists: its models, and what each of them takes, in the words of those that say it."""

import json

import msgspec
import pytest

from gaia_core.models import Endpoint, EndpointConfig, Failover, ModelError
from gaia_core.models.endpoint._model_list import listed_models


@pytest.mark.parametrize(
    ("entry", "beside", "inputs"),
    [
        ({}, None, set()),
        ({"architecture": {"input_modalities": ["text", "image", "file"]}}, None, {"image", "file"}),
        ({"labels": ["vision", "reasoning"]}, None, {"image"}),
        ({"capabilities": ["completion", "vision"]}, None, {"image"}),
        ({"capabilities": {"vision": True, "audio": False}}, None, {"image"}),
        ({"type": "vlm"}, None, {"image"}),
        ({"type": "llm", "labels": [1, None], "capabilities": 7, "architecture": "x"}, None, set()),
        ({}, [{"model": "m", "capabilities": ["completion", "multimodal"]}], {"image"}),
        ({}, [{"model": "other", "capabilities": ["multimodal"]}], set()),
    ],
)
def test_inputs(entry, beside, inputs):
    body = {"data": [{"id": "m", **entry}], **({"models": beside} if beside else {})}

    (listed,) = listed_models(json.dumps(body).encode())

    assert (listed.id, listed.inputs) == ("m", inputs)


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"data": [{"name": "x"}]}', b"{", b'{"data": [1]}'])
def test_what_lists_no_models(body):
    with pytest.raises(msgspec.DecodeError):
        listed_models(body)


@pytest.mark.parametrize(
    ("entry", "chats", "embeds"),
    [
        ('{"id": "qwen3"}', True, False),
        ('{"id": "text-embedding-3-small"}', False, True),
        ('{"id": "nomic-embed-text:latest"}', False, True),
        ('{"id": "bge-m3"}', False, True),
        ('{"id": "bge-reranker-v2-m3-GGUF"}', False, False),
        ('{"id": "Whisper-Large-v3"}', False, False),
        ('{"id": "m", "type": "embeddings"}', False, True),
        ('{"id": "m", "type": "llm"}', True, False),
        ('{"id": "m", "labels": ["reranking"]}', False, False),
        ('{"id": "m", "labels": ["embeddings"]}', False, True),
        ('{"id": "m", "labels": ["vision", "tool-calling"]}', True, False),
        ('{"id": "m", "capabilities": {"completion_chat": false}}', False, False),
        ('{"id": "m", "capabilities": {"completion_chat": true}}', True, False),
        ('{"id": "m", "architecture": {"output_modalities": ["image"]}}', False, False),
        ('{"id": "m", "architecture": {"output_modalities": ["text"]}}', True, False),
    ],
)
def test_whether_a_model_chats(entry, chats, embeds):
    (listed,) = listed_models(f'{{"data": [{entry}]}}'.encode())

    assert (listed.chats, listed.embeds) == (chats, embeds)


async def test_an_endpoint_is_asked_once(upstream):
    there = await upstream(b"")
    there.listed = type(there.listed)(
        (b'{"data": [{"id": "other", "labels": ["audio"]}, {"id": "m", "labels": ["vision"]}]}',),
        media="application/json",
    )
    model = Failover((EndpointConfig(url=there.url, model="m"),))

    assert await model.inputs() == {"image"}
    assert await model.inputs() == {"image"}
    assert len(there.lists) == 1
    await model.aclose()


async def test_an_endpoint_that_is_not_there_says_nothing():
    model = Endpoint(EndpointConfig(url="http://127.0.0.1:9", model="m"))

    with pytest.raises(ModelError):
        await model.inputs()
    await model.aclose()
