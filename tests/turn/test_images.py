"""Images of a tool's result: recorded, shown to a model that takes them, named in words to any other one."""

import base64
import json
import logging
from itertools import pairwise

import pytest

from gaia_core import (
    Agent,
    Catalog,
    ConfigError,
    ContextPolicy,
    Image,
    ModelSpec,
    Runtime,
    ToolOutput,
    Toolset,
    call,
    tool,
)
from gaia_core.events import ToolEnded
from gaia_core.facts import Done, decode_fact, encode_fact
from gaia_core.journal.from_url import journal_from_url
from gaia_core.messages import AssistantMessage, ImagePart, ImageURL, TextPart, ToolMessage, wire_bytes
from gaia_core.models import Endpoint, EndpointConfig
from gaia_core.testing import StrictEndpoint
from gaia_core.tool_output import MOST_IMAGE_BYTES
from gaia_core.turn import TurnRequest

PNG = b"\x89PNG\r\n\x1a\n" + b"\x01" * 120_000
SHOT = Image("image/png", PNG)


@tool(effects="read")
async def screenshot() -> ToolOutput:
    """Show the screen."""
    return ToolOutput("The screen.", (SHOT,))


@tool(effects="read")
async def look() -> str:
    """Look."""
    return "seen"


AGENT = Agent("a", instructions="Be exact.", tools=Toolset("t", (screenshot, look)))


class Opened:
    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self) -> Endpoint:
        return Endpoint(EndpointConfig(url=self.url, model="m", retries=0))


def answers(*made):
    """What the endpoint says, one after another."""
    left = list(made)
    return lambda _body: left.pop(0)


async def talk(*made, inputs=frozenset({"image"}), say=("Go on.",), agent=AGENT, window=None):
    """The bodies of the requests that turns make of a strict endpoint, and what it refused."""
    async with StrictEndpoint(answers(*made)) as server:
        spec = ModelSpec("local", open=Opened(server.url), inputs=inputs, window=window)
        async with Runtime(Catalog.of(agent, models={"local": spec})) as runtime:
            session = await runtime.open(agent)
            for words in say:
                ended = await (await runtime.start(session, TurnRequest(words))).result()
                assert ended.status == "completed", ended.error
        assert not server.refused
        return [body["messages"] for body in server.requests]


def images_in(messages: list[dict]) -> list[str]:
    parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def said_by_tools(messages: list[dict]) -> list[str]:
    return [message["content"] for message in messages if message["role"] == "tool"]


async def test_a_model_that_takes_images_is_shown_them_behind_the_results():
    _, second = await talk(call("screenshot"), "A page.")

    assert said_by_tools(second) == ["The screen.\n[image, 120 KB, image/png]"]
    assert second[-1]["role"] == "user"
    assert images_in(second[-1:]) == [f"data:image/png;base64,{base64.b64encode(PNG).decode()}"]


async def test_a_model_that_takes_none_is_told_so_in_words():
    _, second = await talk(call("screenshot"), "A page.", inputs=frozenset())

    assert said_by_tools(second) == ["The screen.\n[image, 120 KB, image/png: this model takes no images]"]
    assert images_in(second) == []


@pytest.mark.parametrize("inputs", [frozenset(), frozenset({"image"})])
async def test_each_request_begins_with_the_last_one(inputs):
    both = AssistantMessage(None, (call("screenshot"), call("look")))
    requests = await talk(both, call("screenshot"), "A page.", "Yes.", inputs=inputs, say=("Go on.", "Really?"))

    for before, after in pairwise(requests):
        assert after[: len(before)] == before
    assert len(images_in(requests[-1])) == 2 * len(inputs)


async def test_results_of_one_step_share_one_message():
    both = AssistantMessage(None, (call("screenshot"), call("look"), call("screenshot")))
    _, second = await talk(both, "A page.")

    assert [message["role"] for message in second[-5:]] == ["tool", "tool", "tool", "assistant", "user"]
    assert len(images_in(second[-1:])) == 2
    first, third = [one["text"] for one in second[-1]["content"] if one["type"] == "text"]
    assert first != third
    assert first.startswith("Attached to the result of the call ")


async def test_an_image_counts_as_some_tokens_and_not_as_its_bytes():
    """120 KB of base64 are 40,000 tokens as text; the window has 16,000, and nothing is left out."""
    requests = await talk(call("screenshot"), call("look"), "A page.", window=16_000)

    assert len(images_in(requests[-1])) == 1
    assert requests[-1][1]["content"] == "Go on."


async def test_of_too_many_images_the_oldest_are_left_out():
    agent = Agent("a", tools=Toolset("t", (screenshot,)), context=ContextPolicy(compact=False))
    requests = await talk(*[call("screenshot")] * 8, "Done.", window=20_000, agent=agent)

    shown = [len(images_in(messages)) for messages in requests]
    assert max(shown) <= 5  # 40 % of 20,000 tokens, at 1,500 each
    assert shown[-1] >= 1
    assert said_by_tools(requests[-1])[0] == "The screen.\n[image, 120 KB, image/png: left out to make room]"
    assert said_by_tools(requests[-1])[-1] == "The screen.\n[image, 120 KB, image/png]"


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image("image/tiff", b"x"), "[image, 1 bytes, image/tiff: not of a type that models take]"),
        (
            Image("image/png", b"x" * (MOST_IMAGE_BYTES + 1)),
            "[image, 4.2 MB, image/png: left out, larger than 4.2 MB]",
        ),
    ],
)
async def test_what_is_not_kept_is_named_with_why(run, image, words):
    @tool(effects="read")
    async def paint() -> ToolOutput:
        """Paint."""
        return ToolOutput("", (image, SHOT))

    told = await run((paint,), call("paint"), "ok")

    (ended,) = told.of(ToolEnded)
    assert ended.content == f"{words}\n[image, 120 KB, image/png]"
    assert ended.images == (SHOT,)


async def test_they_are_recorded_and_shown_after_a_restart(tmp_path):
    url = str(tmp_path / "journal.sqlite")
    async with StrictEndpoint(answers(call("screenshot"), "A page.", "Yes.")) as server:
        spec = ModelSpec("local", open=Opened(server.url), inputs=frozenset({"image"}))
        for words in ("Go on.", "Really?"):
            async with Runtime(Catalog.of(AGENT, models={"local": spec}), journal_from_url(url, {})) as runtime:
                session = await runtime.open(AGENT, "s")
                await (await runtime.start(session, TurnRequest(words))).result()
        assert not server.refused
        last = server.requests[-1]["messages"]
    assert last[: len(server.requests[1]["messages"])] == server.requests[1]["messages"]
    assert len(images_in(last)) == 1


def test_records_of_earlier_versions_are_read():
    old = b'{"type":"done","call_id":"c","tool":"t","outcome":"ok","content":"x"}'
    done = decode_fact(old)

    assert isinstance(done, Done)
    assert done.images == ()
    assert encode_fact(done) == old


def test_a_record_keeps_an_image():
    done = Done("c", "t", "ok", "x", images=(SHOT,))

    assert decode_fact(encode_fact(done)) == done


def test_bytes_are_in_no_repr_and_in_no_message_on_the_wire(caplog):
    message = ToolMessage("x", "c", "ok", (SHOT,))
    caplog.set_level(logging.DEBUG)

    assert repr(SHOT) == "Image('image/png', 120 KB)"
    assert "\\x01" not in repr(message)
    assert json.loads(wire_bytes(message)) == {"role": "tool", "content": "x", "tool_call_id": "c"}


def test_what_is_no_image_is_refused():
    with pytest.raises(ConfigError, match=r"Image\.data must be"):
        Image("image/png", "text")
    with pytest.raises(ConfigError, match=r"ToolOutput\.images must be"):
        ToolOutput("x", ("image.png",))


async def test_a_users_image_counts_as_some_tokens_too():
    """Its base64 took the whole window: the text beside it was cut, and what came before it left out."""
    question = "What is it? " * 100

    async with StrictEndpoint(answers("Hello.", "A page.")) as server:
        spec = ModelSpec("local", open=Opened(server.url), inputs=frozenset({"image"}), window=8_000)
        async with Runtime(Catalog.of(AGENT, models={"local": spec})) as runtime:
            session = await runtime.open(AGENT)
            await (await runtime.start(session, TurnRequest("My name is Ada."))).result()
            content = (TextPart(question), ImagePart(ImageURL(SHOT.url)))
            await (await runtime.start(session, TurnRequest(content))).result()
        messages = server.requests[-1]["messages"]
    assert messages[1]["content"] == "My name is Ada."
    assert messages[-1]["content"][0]["text"] == question
