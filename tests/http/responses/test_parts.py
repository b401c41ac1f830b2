"""Images and files in items: where they come from, where they go, and what is said of those that can't be taken."""

import base64
import json

import pytest

from gaia_core import Agent, Catalog, Runtime, ScriptedModel, call
from gaia_core.messages import AssistantMessage, ImagePart, ImageURL, TextPart, ToolMessage, UserMessage
from gaia_http import Settings
from gaia_http._errors import ApiError
from gaia_http.openai.responses.input._input_items import read_items
from gaia_http.openai.responses.input._wire import decode_create, decode_items
from gaia_http.request._part_converter import PartConverter
from gaia_http.request._uploaded_files import UploadedFiles
from gaia_http.request._url_fetch import Fetched, FetchError

PNG = b"\x89PNG\r\n\x1a\n and so on"
PIXEL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
WEATHER = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}


def user(*parts: dict) -> list[dict]:
    return [{"role": "user", "content": list(parts)}]


# Files by a URL.


class Web:
    """A web of one text file."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def fetch(self, url, media):
        self.asked.append(url)
        if not url.endswith("notes.txt?v=1"):
            raise FetchError("it answered 404")
        return Fetched("text/plain", b"hello")


@pytest.fixture
async def read():
    """The messages of an input, its parts fetched from a `Web`; and that."""
    web = Web()
    agent = Agent("a")
    async with Runtime(Catalog.of(agent, models={"local": ScriptedModel(lambda request: "ok")})) as runtime:
        parts = PartConverter(runtime, Settings(), UploadedFiles(None), web)

        async def read(input: object):
            found = read_items(decode_items(decode_create(json.dumps({"input": input}).encode()).input), Settings())
            return await parts.convert(found.messages, found.part_paths, agent, "")

        yield read, web


async def test_a_file_by_its_url_is_fetched_by_the_guard_and_named_after_it(read):
    read, web = read

    (message,) = await read(user({"type": "input_file", "file_url": "https://example.org/a/notes.txt?v=1"}))

    assert web.asked == ["https://example.org/a/notes.txt?v=1"]
    assert message == UserMessage((TextPart('<file name="notes.txt">\nhello\n</file>'),))


async def test_one_that_is_not_there_is_refused_by_its_path(read):
    read, _ = read

    with pytest.raises(ApiError) as refused:
        await read(user({"type": "input_text", "text": "Look"}, {"type": "input_file", "file_url": "http://e.org/no"}))

    reply = refused.value.reply
    assert (reply.param, reply.code) == ("input[0].content[1].file_url", "invalid_file_url")
    assert "input[0].content[1].file_url: 'http://e.org/no' is not fetched: it answered 404" in reply.message


@pytest.mark.parametrize(
    ("part", "inputs", "param", "code"),
    [
        ({"type": "input_file", "file_url": "https://example.org/a.pdf"}, (), "file_url", "invalid_file_url"),
        ({"type": "input_file", "file_url": "file:///etc/passwd"}, (), "file_url", "invalid_value"),
        ({"type": "input_file"}, (), "file_data", "missing_required_parameter"),
        ({"type": "input_file", "file_id": "file-no"}, (), "file_id", "file_not_found"),
        ({"type": "input_file", "file_data": "@@@"}, (), "file_data", "invalid_value"),
        ({"type": "input_file", "file_data": "@@@", "file_url": "http://e.org"}, (), "file_data", "invalid_value"),
        ({"type": "input_audio", "input_audio": {"data": "="}}, (), "input_audio", "invalid_type"),
        ({"type": "refusal", "refusal": "no"}, (), "type", "unsupported_content_type"),
        ({"type": "input_file", "file_data": "bm8=", "filename": "a.pdf"}, (), "", "invalid_file"),
        (
            {"type": "input_image", "image_url": "https://example.org/a.png"},
            ("image",),
            "image_url",
            "invalid_image_url",
        ),
        ({"type": "input_image", "image_url": "ftp://example.org/a.png"}, ("image",), "image_url", "invalid_value"),
        ({"type": "input_image", "image_url": PIXEL}, (), "type", "unsupported_content_type"),
    ],
)
async def test_what_can_not_be_taken_is_named_as_it_is_here(serve, ask, part, inputs, param, code):
    server = await serve("ok", inputs=inputs)

    _, answer = await ask(server, user({"type": "input_text", "text": "Look"}, part))

    path = "input[0].content[1]"
    assert answer["error"]["param"] == (f"{path}.{param}" if param else path), answer
    assert answer["error"]["code"] == code
    assert ".image_url.url" not in answer["error"]["message"]
    assert ".file." not in answer["error"]["message"]
    assert server.model.requests == []


@pytest.mark.parametrize(
    ("item", "path", "words"),
    [
        (
            {"role": "system", "content": [{"type": "input_image", "image_url": PIXEL}]},
            "input[1].content[0].type",
            "'input_image' is not allowed in a message of role 'system'; it may be input_text",
        ),
        (
            {"role": "assistant", "content": [{"type": "input_file", "file_data": "aGk="}]},
            "input[1].content[0].type",
            "it may be output_text or refusal",
        ),
        (
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "refusal", "refusal": "no"}]},
            "input[1].output[0].type",
            "'refusal' is not allowed",
        ),
    ],
)
async def test_parts_that_an_item_may_not_have_are_named_by_their_path(serve, ask, item, path, words):
    server = await serve("ok", inputs=("image",))
    called = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}

    status, answer = await ask(server, [called, item])

    assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, path, "unsupported_content_type")
    assert words in answer["error"]["message"]


# Images by an upload.


async def test_an_image_by_its_file_reaches_a_model_that_sees(serve):
    server = await serve("ok", inputs=("image",))
    async with server.sdk() as client:
        file = await client.files.create(file=("a.png", PNG), purpose="vision")
        await client.responses.create(
            model="a", input=user({"type": "input_image", "file_id": file.id, "detail": "auto"})
        )

    assert server.model.requests[0].messages[-1].content == (ImagePart(ImageURL(PIXEL)),)


# Results of a client's tools.


async def test_an_image_that_a_function_gave_is_shown_behind_the_results(serve, ask):
    server = await serve((call("look"), call("look", at="b")), "A cat", inputs=("image",))
    _, first = await ask(server, tools=[WEATHER])
    one, two = [item["call_id"] for item in first["output"]]
    outputs = [
        {
            "type": "function_call_output",
            "call_id": one,
            "output": [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": PIXEL}],
        },
        {"type": "function_call_output", "call_id": two, "output": [{"type": "input_image", "image_url": PIXEL}]},
    ]

    status, answer = await ask(server, outputs, previous_response_id=first["id"], tools=[WEATHER])

    assert status == 200, answer
    seen, other, between, shown = server.model.requests[1].messages[-4:]
    assert (seen.content, other.content) == ((TextPart("seen"),), "The result is attached.")
    assert isinstance(other, ToolMessage)
    assert between == AssistantMessage("[No answer yet.]")  # strict templates want one before a user's
    assert [type(part) for part in shown.content] == [TextPart, ImagePart, TextPart, ImagePart]


async def test_in_a_whole_transcript_too_and_a_model_that_does_not_see_says_where(serve, ask):
    server = await serve("A cat", inputs=("image",))
    blind = await serve("A cat")
    items = [
        {"role": "user", "content": "Look"},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": PIXEL}],
        },
        {"role": "assistant", "content": "A cat, I think."},
        {"role": "user", "content": "Sure?"},
    ]

    status, answer = await ask(server, items)
    refused, error = await ask(blind, items)

    assert status == 200, answer
    roles = [type(message).__name__.removesuffix("Message") for message in server.model.requests[0].messages]
    assert roles == ["User", "Assistant", "Tool", "Assistant", "User", "Assistant", "User"]
    assert (refused, error["error"]["param"]) == (400, "input[2].output[1].type")


# Conversations.


async def test_what_is_added_to_a_conversation_is_looked_at_like_an_input(serve):
    server = await serve("ok", inputs=("image",))
    async with server.sdk() as client:
        file = await client.files.create(file=("a.txt", b"hello"), purpose="user_data")
        conversation = await client.conversations.create(
            items=user({"type": "input_file", "file_id": file.id}, {"type": "input_image", "image_url": PIXEL})
        )
        await client.responses.create(model="a", input="Well?", conversation=conversation.id)
    async with server.http.post(
        f"/v1/conversations/{conversation.id}/items",
        json={"items": user({"type": "input_image", "image_url": "http://169.254.169.254/latest"})},
    ) as reply:
        refused = await reply.json()

    told = server.model.requests[0].messages[0].content
    file_text = TextPart('<file name="a.txt">\nhello\n</file>')
    assert told == (file_text, ImagePart(ImageURL(PIXEL)), TextPart("Well?"))
    assert refused["error"]["param"] == "items[0].content[0].image_url"


async def test_a_result_may_be_added_to_the_conversation_that_waits_for_it(serve, ask):
    server = await serve(call("look"), "A cat")
    async with server.sdk() as client:
        conversation = await client.conversations.create()
        first = await client.responses.create(model="a", input="Look", conversation=conversation.id, tools=[WEATHER])
        result = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "a cat"}
        await client.conversations.items.create(conversation.id, items=[result])
        second = await client.responses.create(model="a", input="Well?", conversation=conversation.id)

    assert second.output_text == "A cat"
    contents = [message.content for message in server.model.requests[1].messages]
    assert contents == ["Look", None, "a cat", "[No answer yet.]", "Well?"]
