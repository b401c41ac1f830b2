"""Another key's response or conversation is not there, on any route."""

import msgspec
import pytest

from gaia_http.keys import Keyring
from gaia_http.keys._key import Key, digest_of, new_id, new_secret
from gaia_http.keys._key_file import change


def key(path, name: str) -> dict[str, str]:
    """The headers of a new key."""
    secret = new_secret()

    def add(file):
        return msgspec.structs.replace(
            file, keys=(*file.keys, Key(new_id(), name, digest_of(file.salt, secret.encode()), 0))
        )

    change(path, add)
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def keys(tmp_path):
    place = tmp_path / "keys.json"
    return key(place, "ann"), key(place, "bob"), Keyring(place)


async def test_another_keys_objects_do_not_exist(serve, keys):
    ann, bob, ring = keys
    server = await serve("One", "Two", keyring=ring)

    async def send(headers, method, path, body=None):
        async with server.http.request(method, path, json=body, headers=headers) as reply:
            return reply.status, await reply.json()

    _, conversation = await send(ann, "POST", "/v1/conversations", {"items": [{"role": "user", "content": "x"}]})
    _, items = await send(ann, "GET", f"/v1/conversations/{conversation['id']}/items")
    _, response = await send(ann, "POST", "/v1/responses", {"model": "a", "input": "Hi"})
    one, talk = f"/v1/responses/{response['id']}", f"/v1/conversations/{conversation['id']}"
    item = items["data"][0]["id"]
    routes = [
        ("GET", one, None),
        ("GET", f"{one}?stream=true", None),
        ("GET", f"{one}/input_items", None),
        ("POST", f"{one}/cancel", None),
        ("DELETE", one, None),
        ("GET", talk, None),
        ("POST", talk, {"metadata": {}}),
        ("DELETE", talk, None),
        ("GET", f"{talk}/items", None),
        ("POST", f"{talk}/items", {"items": [{"role": "user", "content": "y"}]}),
        ("GET", f"{talk}/items/{item}", None),
        ("DELETE", f"{talk}/items/{item}", None),
        ("POST", "/v1/responses", {"model": "a", "input": "Hi", "previous_response_id": response["id"]}),
        ("POST", "/v1/responses", {"model": "a", "input": "Hi", "conversation": conversation["id"]}),
        (
            "POST",
            "/v1/responses",
            {"model": "a", "input": [{"type": "item_reference", "id": response["output"][0]["id"]}]},
        ),
        ("POST", "/v1/responses/compact", {"model": "a", "previous_response_id": response["id"]}),
        ("POST", "/v1/responses/input_tokens", {"model": "a", "previous_response_id": response["id"]}),
    ]

    for method, path, body in routes:
        status, answer = await send(bob, method, path, body)
        assert (status, set(answer)) == (404, {"error"}), (method, path, answer)
    assert await send(ann, "GET", one) == (200, response)
    assert (await send(ann, "GET", talk))[0] == 200
    assert len(server.model.requests) == 1
