"""A server that cuts prompts without an error, as Ollama does beyond num_ctx, is named once in the log."""

import logging

import pytest

from gaia_core import Agent, Catalog, Runtime, scripted
from gaia_core.events import TextDelta
from gaia_core.messages import Usage
from gaia_core.models import Finished

LONG = "words of a long message " * 2_000  # about 12,000 tokens


async def warnings(caplog, *counted: int) -> list[str]:
    """What the log has of turns whose prompts the server counted so."""
    agent = Agent("a")
    answers = [(TextDelta("ok"), Finished("stop", Usage(tokens, 5))) for tokens in counted]
    with caplog.at_level(logging.WARNING):
        async with Runtime(Catalog.of(agent, models={"local": scripted(*answers)})) as runtime:
            for _ in counted:
                await (await runtime.start(await runtime.open(agent), LONG)).result()
    return [record.getMessage() for record in caplog.records if "cuts longer ones" in record.getMessage()]


async def test_a_server_that_counts_far_less_than_it_was_sent_is_named_once_with_what_to_do(caplog):
    (line,) = await warnings(caplog, 4_096, 4_096, 4_096)

    assert line.startswith("model local: the server read 4096 tokens of a prompt of about 12")
    assert "window = 4096 in [models.local]" in line
    assert "OLLAMA_CONTEXT_LENGTH" in line
    assert "words of" not in line


@pytest.mark.parametrize("counted", [12_000, 8_000, 30_000, 40], ids=["right", "long tokens", "short tokens", "cached"])
async def test_other_counts_say_nothing(caplog, counted):
    assert await warnings(caplog, counted, counted) == []
