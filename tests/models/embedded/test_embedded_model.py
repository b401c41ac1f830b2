"""The embedded model, for real: llama.cpp in its child process, on noise."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys

import attrs
import pytest

from gaia_core import Agent, Catalog, Runtime, Toolset, tool
from gaia_core.events import ModelRetried, TextDelta
from gaia_core.messages import UserMessage
from gaia_core.models import (
    Endpoint,
    EndpointConfig,
    Finished,
    Model,
    ModelError,
    ModelRequest,
    PromptedTools,
    ResponseFormat,
    Sampling,
    ToolCallDelta,
    ToolChoice,
)
from gaia_core.models.embedded import EmbeddedModel, State, Weights
from gaia_core.models.embedded._child_supervisor import Child
from gaia_core.testing import StrictEndpoint

ENVIRON = {"GAIA_CACHE": "unused"}
HELLO = (UserMessage("Hello!"),)
SHORT = Sampling(max_tokens=64, seed=1)


@pytest.fixture
async def model(noise):
    made = EmbeddedModel(noise, context_tokens=8_192, slots=2, environ=ENVIRON, restart_seconds=0.01)
    yield made
    await made.aclose()


async def until(model: EmbeddedModel, *phases: str) -> State:
    """Wait until the model is in one of the *phases*."""
    async with asyncio.timeout(60):
        async for state in model.states():
            if state.phase in phases:
                return state
    raise AssertionError


async def answer(model: Model, request: ModelRequest) -> tuple[str, list]:
    """The text, and all other deltas."""
    text, others = "", []
    async for batch in model.stream(request):
        for delta in batch:
            if isinstance(delta, TextDelta):
                text += delta.text
            else:
                others.append(delta)
    return text, others


async def test_it_answers(model):
    await until(model, "ready")

    text, others = await answer(model, ModelRequest(HELLO, sampling=SHORT))

    assert text
    (finished,) = others
    assert isinstance(finished, Finished)
    assert finished.usage.output_tokens > 0


async def test_a_seed_gives_the_same_text_each_time(model):
    """Also after requests that left their prompt in the cache: a prompt that is taken from it was computed in other
    batches."""
    await until(model, "ready")
    request = ModelRequest(
        (UserMessage("The quick brown fox jumps over the lazy dog. " * 20),),
        sampling=Sampling(temperature=1.0, seed=7, max_tokens=48),
    )

    texts = [(await answer(model, request))[0] for _ in range(3)]

    assert texts[0]
    assert len(set(texts)) == 1


class Served(EmbeddedModel):
    """An embedded model whose child is somebody else's server."""

    def __init__(self, url: str) -> None:
        super().__init__(sources=())
        self._model = PromptedTools(Endpoint(EndpointConfig(url=url, model="embedded", retries=0)))

    def _begin(self) -> None:
        """Starts nothing."""


async def test_only_a_request_with_a_seed_carries_what_makes_it_repeatable():
    async with StrictEndpoint("Hello") as server:
        served = Served(server.url)
        for seed in (7, 7, 0, None):
            sampling = Sampling(temperature=0.8, seed=seed)
            await answer(served, ModelRequest(HELLO, sampling=sampling))
        await served._model.aclose()

    sent = [{name: body.get(name) for name in ("seed", "temperature", "cache_prompt")} for body in server.requests]
    assert sent[0] == {"seed": 7, "temperature": 0.8, "cache_prompt": False}
    assert server.requests[0] == server.requests[1]
    assert [body["cache_prompt"] for body in sent] == [False, False, False, None]


async def test_a_seeds_prompt_is_not_taken_from_the_cache(model):
    await until(model, "ready")
    request = ModelRequest((UserMessage("The quick brown fox. " * 20),), sampling=Sampling(seed=7, max_tokens=4))

    cached = [(await answer(model, request))[1][-1].usage.cached_tokens for _ in range(2)]

    assert cached == [0, 0]


async def test_it_answers_by_a_schema(model):
    await until(model, "ready")
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "sure": {"type": "boolean"}},
        "required": ["colour", "sure"],
        "additionalProperties": False,
    }
    form = ResponseFormat("json_schema", json.dumps(schema).encode())

    text, _ = await answer(model, ModelRequest(HELLO, response_format=form, sampling=Sampling(seed=1)))

    answered = json.loads(text)
    assert answered["colour"] in ("red", "blue")
    assert answered["sure"] in (True, False)


@tool(effects="read")
def paint(colour: str) -> str:
    """Paint the wall."""
    return f"painted {colour}"


async def test_it_calls_a_tool_by_prompt(model):
    await until(model, "ready")
    tools = Toolset("tools", (paint,)).definitions

    text, others = await answer(
        model,
        ModelRequest(HELLO, tools=tools, tool_choice=ToolChoice("required"), sampling=Sampling(max_tokens=400, seed=1)),
    )

    called, finished = others
    assert text == ""
    assert isinstance(called, ToolCallDelta)
    assert called.name == "paint"
    assert isinstance(json.loads(called.arguments)["colour"], str)
    assert finished.reason == "tool_calls"


async def test_it_counts_a_prompt_as_it_is_sent(model):
    await until(model, "ready")
    requests = [ModelRequest(HELLO, sampling=SHORT), ModelRequest(HELLO, tools=Toolset("t", (paint,)).definitions)]

    for request in requests:
        _, others = await answer(model, request)
        assert await model.count(request) == others[-1].usage.input_tokens


async def test_several_conversations_at_once(model):
    agent = Agent("agent")
    async with Runtime(Catalog.of(agent, models={"local": model})) as runtime:
        await until(model, "ready")
        turns = [await runtime.start(await runtime.open(agent), f"Say {n}.") for n in range(4)]

        results = [await turn.result() for turn in turns]

    assert [result.status for result in results] == ["completed"] * 4


async def test_a_conversation_that_is_too_long_fails_alone(model):
    await until(model, "ready")
    too_long = ModelRequest((UserMessage("word " * 2_000),))

    outcomes = await asyncio.gather(
        answer(model, too_long), answer(model, ModelRequest(HELLO, sampling=SHORT)), return_exceptions=True
    )

    assert isinstance(outcomes[0], ModelError)
    assert outcomes[0].kind == "context_length"
    assert outcomes[1][0]
    assert model.state.phase == "ready"


async def test_the_context_is_divided_among_the_slots(model):
    """8,192 tokens for two slots: 5,000 are too many for one of them."""
    await until(model, "ready")

    with pytest.raises(ModelError) as raised:
        await answer(model, ModelRequest((UserMessage("w" * 5_000),)))

    assert "4096" in str(raised.value)


async def test_after_a_crash_it_is_there_again(model, caplog):
    await until(model, "ready")
    crashed = model.pid

    os.kill(crashed, signal.SIGKILL)
    state = await until(model, "crashed")
    await until(model, "ready")

    assert "SIGKILL" in str(state)
    assert "restarts" in str(state)
    assert model.pid != crashed
    assert "the embedded model crashed" in caplog.text
    assert (await answer(model, ModelRequest(HELLO, sampling=SHORT)))[0]


async def test_a_request_that_a_crash_interrupts_says_so(model):
    await until(model, "ready")
    endless = ModelRequest(HELLO, sampling=Sampling(logit_bias=(("259", -100.0),), max_tokens=100_000))

    with pytest.raises(ModelError, match="restarts by itself") as raised:  # noqa: PT012
        async for _ in model.stream(endless):
            if model.pid is not None:
                os.kill(model.pid, signal.SIGKILL)

    assert raised.value.kind in ("broken_stream", "connect")


async def test_closing_ends_its_process(noise):
    model = EmbeddedModel(noise, slots=1, environ=ENVIRON)
    await until(model, "ready")
    pid = model.pid

    await model.aclose()

    assert model.state == State("closed")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ModelError, match="closed"):
        await answer(model, ModelRequest(HELLO))


async def test_closing_while_it_starts_leaves_nothing(noise):
    model = EmbeddedModel(noise, slots=1, environ=ENVIRON)
    await until(model, "starting")

    await model.aclose()

    assert model.pid is None


async def test_a_request_while_it_closes_starts_nothing(noise, children):
    model = EmbeddedModel(noise, slots=1, environ=ENVIRON)
    await until(model, "ready")
    started = children.qsize()
    closing = asyncio.create_task(model.aclose())
    await asyncio.sleep(0)
    with pytest.raises(ModelError, match="closed"):
        await answer(model, ModelRequest(HELLO))
    await closing

    assert model.state == State("closed")
    assert children.qsize() == started


async def test_what_nobody_foresaw_in_its_keeper_is_logged_and_tried_again(noise, monkeypatch, caplog):
    async def fails(*_arguments) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError("x")

    monkeypatch.setattr("gaia_core.models.embedded._model.load_runtime", fails)
    model = EmbeddedModel(noise, slots=1, environ=ENVIRON, restart_seconds=0.001)
    try:
        await until(model, "failed")
        assert "ZeroDivisionError" in model.state.reason
        await until(model, "ready")
    finally:
        await model.aclose()
    assert "the embedded model's keeper failed" in caplog.text


async def test_a_start_that_is_cancelled_twice_leaves_no_process(noise, children):
    starting = asyncio.create_task(Child.start(noise, 512, 1))
    child = await children.get()
    for _ in range(3):
        await asyncio.sleep(0)
        starting.cancel()
    await asyncio.wait((starting,))

    assert starting.cancelled()
    assert child.returncode is not None


PARENT = """
import asyncio, sys
from pathlib import Path
from gaia_core.models.embedded import EmbeddedModel

async def main():
    model = EmbeddedModel(Path(sys.argv[1]), slots=1)
    async for state in model.states():
        if state.phase == "ready":
            print(model.pid, flush=True)

asyncio.run(main())
"""


async def test_its_process_ends_with_its_parent_however_that_ends(noise):
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(noise), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    child = int(await parent.stdout.readline())
    os.kill(child, 0)

    parent.kill()
    await parent.wait()

    async with asyncio.timeout(30):
        while _runs(child):
            await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"  # a zombie that nobody waits for has ended
    except (ProcessLookupError, FileNotFoundError):
        return False


# Until it is ready.


@attrs.define(eq=False)
class Gate:
    """A source that brings half, and the rest when the test lets it."""

    data: bytes
    go: asyncio.Event = attrs.field(factory=asyncio.Event)
    label: str = "a gate"

    async def fetch(self, part, size, told) -> None:
        told(size // 2, size)
        await self.go.wait()
        part.write_bytes(self.data)


@pytest.fixture
async def gated(noise, tmp_path):
    """A model that is being fetched: half of it has come, and the gate holds the rest back."""
    data = noise.read_bytes()
    gate = Gate(data)
    weights = Weights("Noise", hashlib.sha256(data).hexdigest(), len(data), "nobody's", ())
    model = EmbeddedModel(slots=1, default=weights, sources=(gate,), environ={"GAIA_CACHE": str(tmp_path)})
    async for state in model.states():
        if state.done:
            break
    yield model, gate
    await model.aclose()


async def test_a_request_waits_until_it_is_ready_and_hears_how_far_it_is(gated):
    model, gate = gated
    said = []
    async for batch in model.stream(ModelRequest(HELLO, sampling=SHORT)):
        said += batch
        if len(said) == 1:
            gate.go.set()

    retried = [delta for delta in said if isinstance(delta, ModelRetried)]
    assert retried == said[: len(retried)], "all of it before the answer"
    assert {delta.kind for delta in retried} == {"not_ready"}
    assert retried[0].reason == "the embedded model Noise: fetching 50 %"
    assert retried[-1].reason == "the embedded model Noise: starting"
    assert isinstance(said[-1], Finished)


async def test_a_request_that_waits_ends_when_the_model_is_closed(gated):
    model, _ = gated
    waiting = model.stream(ModelRequest(HELLO))
    await anext(waiting)
    await model.aclose()

    with pytest.raises(ModelError, match="closed") as raised:
        await anext(waiting)

    assert (raised.value.kind, raised.value.retryable) == ("not_ready", False)


async def test_a_request_that_waits_ends_when_no_source_has_the_weights(gated):
    model, gate = gated
    waiting = model.stream(ModelRequest(HELLO))
    await anext(waiting)
    gate.data = b"something else"
    gate.go.set()

    with pytest.raises(ModelError, match="no source brought the weights"):
        async for _ in waiting:
            pass


async def test_nobody_counts_tokens_before_it_is_ready(gated):
    model, _ = gated
    with pytest.raises(ModelError, match="fetching 50 %") as raised:
        await model.count(ModelRequest(HELLO))

    assert (raised.value.kind, raised.value.retryable) == ("not_ready", True)
    assert raised.value.retry_after >= 2


async def test_without_weights_it_says_what_to_do(tmp_path):
    model = EmbeddedModel(slots=1, sources=(), environ={"GAIA_CACHE": str(tmp_path)})
    try:
        await until(model, "failed")

        with pytest.raises(ModelError, match="no source brought the weights") as raised:
            await answer(model, ModelRequest(HELLO))

        assert "GAIA_WEIGHTS" in str(raised.value)
        assert raised.value.kind == "not_ready"
    finally:
        await model.aclose()


async def test_weights_that_are_broken_are_a_fault_with_a_reason(tmp_path, caplog):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and nothing that follows")
    model = EmbeddedModel(tmp_path / "broken.gguf", slots=1, environ=ENVIRON)
    try:
        state = await until(model, "failed", "crashed")

        assert state.lasting
        assert state.reason.startswith("its weights can't be loaded: the file is damaged")
        assert "llama_model_load" in caplog.text, "the log has llama.cpp's own words"
        with pytest.raises(ModelError, match=r"the embedded model broken\.gguf can't run: its weights"):
            await answer(model, ModelRequest(HELLO))
    finally:
        await model.aclose()


def test_outside_an_event_loop_nothing_starts(noise):
    model = EmbeddedModel(noise, environ=ENVIRON)

    assert model.state == State("idle")
    assert str(model.state) == "not started"
    assert "noise.gguf" in repr(model)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State("fetching", 42, 100, "hub"), "fetching 42 %"),
        (State("fetching", 42), "fetching"),
        (State("checking"), "checking what was fetched"),
        (State("waiting"), "waiting for another process that fetches"),
        (State("starting"), "starting"),
        (State("ready"), "ready"),
        (State("crashed", reason="SIGSEGV"), "crashed: SIGSEGV"),
        (State("failed", reason="no weights"), "failed: no weights"),
    ],
)
def test_a_state_in_words(state, words):
    assert str(state) == words
