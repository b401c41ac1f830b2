"""The main job, for real: `gaia serve` in a folder, the embedded model, the official SDK, a question about files.

With the embedded model's weights (`gaia model pull`, which .ci/run does) the agent must look and answer. Where no
source could be reached, the same run is made on noise, and shows that the whole path holds: a valid stream that ends.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from openai import AsyncOpenAI

from gaia_core.models.embedded import QWEN_CODER, cache_folder

COMMAND = (sys.executable, "-c", "from gaia_core.cli import main; main(prog_name='gaia')", "serve", "--port", "0")
QUESTION = "Which files are here?"


@attrs.frozen
class Answer:
    """What a stream brought: text, the agent's own activity, how it ended."""

    text: str
    activity: tuple[dict, ...]
    reasoning: str
    finish: str | None


@asynccontextmanager
async def served(folder: Path, weights: Path) -> AsyncIterator[AsyncOpenAI]:
    """A client of `gaia serve` in *folder* on *weights*, once its model is ready."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GAIA_")}
    environ |= {"GAIA_DISCOVER": "0", "GAIA_JOURNAL": "memory", "GAIA_WEIGHTS": str(weights)}
    running = await asyncio.create_subprocess_exec(
        *COMMAND, cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(120):
            said = ""
            while "embedded model: ready\n" not in said:
                line = (await running.stdout.readline()).decode()
                assert line, said
                said += line
        url = said.split("gaia serves ")[1].split()[0]
        async with AsyncOpenAI(base_url=url, api_key="unused", timeout=300, max_retries=0) as client:
            yield client
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert (await running.stdout.read()).endswith(b"stopped\n")
            assert await running.wait() == 0
    finally:
        if running.returncode is None:
            running.kill()
            await running.stdout.read()
            await running.wait()


async def ask(client: AsyncOpenAI, question: str, **options) -> Answer:
    """Ask the default agent, streamed."""
    text, reasoning, finish, activity = "", "", None, []
    stream = await client.chat.completions.create(
        model="assistant", messages=[{"role": "user", "content": question}], stream=True, **options
    )
    async for chunk in stream:
        if told := (chunk.model_extra or {}).get("x_gaia"):
            activity.append(told)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasoning += (choice.delta.model_extra or {}).get("reasoning_content") or ""
            finish = choice.finish_reason or finish
    return Answer(text, tuple(activity), reasoning, finish)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a few files."""
    (tmp_path / "notes.txt").write_text("The meeting is on Thursday at 10. Bring the blue folder.\n")
    (tmp_path / "budget.csv").write_text("name,amount\nAnna,3\nBen,5\n")
    return tmp_path


async def test_the_agent_looks_and_answers(folder, noise):
    pulled = QWEN_CODER.path(cache_folder(os.environ))
    real = QWEN_CODER.is_in(pulled.parent)

    async with served(folder, pulled if real else noise) as client:
        answer = await ask(client, QUESTION, temperature=0, max_tokens=300)

    assert answer.finish in ("stop", "length")
    if real:
        assert answer.finish == "stop"
        assert any(event["type"] == "ToolEnded" and event["outcome"] == "ok" for event in answer.activity), answer
        assert "notes.txt" in answer.text
        assert "budget.csv" in answer.text


async def test_noise_goes_the_whole_way_too(folder, noise):
    async with served(folder, noise) as client:
        answers = await asyncio.gather(*(ask(client, QUESTION, max_tokens=60, seed=seed) for seed in range(4)))

    assert all(answer.finish in ("stop", "length") for answer in answers)
