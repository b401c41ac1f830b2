"""How many tokens a request has: by the model's own count, or estimated and said so."""

import pytest

from gaia_core import Agent, Catalog, Context, ModelSpec, Runtime, ScriptedModel, Toolset, scripted, tool
from gaia_core.messages import ImagePart, ImageURL, TextPart, UserMessage
from gaia_core.models import ModelError, PromptedTools
from gaia_core.turn import TurnOptions


class Counting(ScriptedModel):
    """A model that counts the words of its messages, and remembers what it was asked to count."""

    async def count(self, request):
        self.counted = request
        return sum(len(message.content.split()) for message in request.messages)


@tool(effects="read")
async def secret(ctx: Context[None]) -> str:
    """Tell the secret."""
    return "42"


AGENT = Agent("a", instructions="Be very brief.", tools=Toolset("own", (secret,)))


def runtime_of(model: object) -> Runtime:
    return Runtime(Catalog.of(AGENT, models={"local": ModelSpec("local", open=lambda: model)}))


async def test_the_model_counts_what_it_would_be_sent():
    model = Counting(lambda request: "")
    async with runtime_of(model) as runtime:
        usage = await runtime.models.count_tokens(
            AGENT, (UserMessage("Hello there"),), TurnOptions(instructions="Rhyme.")
        )

    assert (usage.input_tokens, usage.estimated) == (6, False)
    assert [one.name for one in model.counted.tools] == ["secret"]
    assert model.requests == []


async def test_tools_in_words_are_counted_as_they_are_sent():
    model = Counting(lambda request: "")
    async with runtime_of(PromptedTools(model)) as runtime:
        usage = await runtime.models.count_tokens(AGENT, (UserMessage("Hello there"),))

    assert usage.input_tokens > 100
    assert model.counted.tools == ()
    assert "Tell the secret." in model.counted.messages[0].content


async def test_what_no_model_counts_is_an_estimate_that_grows_with_the_text():
    async with runtime_of(scripted("never")) as runtime:
        short = await runtime.models.count_tokens(AGENT, (UserMessage("Hello there"),))
        long = await runtime.models.count_tokens(AGENT, (UserMessage("Hello there" + "x" * 4_000),))

    assert short.estimated
    assert long.input_tokens == short.input_tokens + 1_000


async def test_an_image_is_not_estimated():
    image = ImagePart(ImageURL("data:image/png;base64,AA=="))
    async with runtime_of(scripted("never")) as runtime:
        with pytest.raises(ModelError, match="can't be estimated"):
            await runtime.models.count_tokens(AGENT, (UserMessage((TextPart("What?"), image)),))
