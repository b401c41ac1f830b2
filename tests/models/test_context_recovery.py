"""A request that exceeds the model's context, refused in each server's own words: the context is learnt, the request is
shortened and sent again once, and the session lives on."""

import itertools
import json
from collections.abc import AsyncIterator, Callable

import attrs
import pytest

from gaia_core import Agent, Catalog, ModelSpec, Runtime, Session, Toolset, TurnRequest, tool
from gaia_core.events import ContextCompacted, ModelRetried, ToolEnded, TurnEnded
from gaia_core.journal import MemoryJournal
from gaia_core.messages import UserMessage
from gaia_core.models import EndpointConfig, Sampling
from gaia_core.models.endpoint._failover import OpenEndpoints
from gaia_core.turn import NO_OPTIONS, READ_RESULT, TurnOptions

CONTEXT = 6000
LONG = "\n".join(f"line {n} of a long file, with some words to it" for n in range(2_000))  # about 95,000 characters


@tool(effects="read")
async def read_file(path: str) -> str:
    """Read a file."""
    return LONG


AGENT = Agent("a", instructions="Be brief.", tools=Toolset("files", (read_file,)))


@attrs.frozen
class Refusal:
    """How a server refuses a request of *prompt* tokens over a context of *n_ctx*."""

    body: Callable[[int, int], object]
    status: int = 400
    streamed: bool = False
    media: str = "application/json"


def _error(**members: object) -> dict:
    return {"error": members}


REFUSALS = {
    "llama.cpp": Refusal(
        lambda prompt, n_ctx: _error(
            code=400,
            message="the request exceeds the available context size, try increasing it",
            type="exceed_context_size_error",
            n_prompt_tokens=prompt,
            n_ctx=n_ctx,
        )
    ),
    "llama.cpp, as 500": Refusal(
        lambda prompt, n_ctx: _error(code=500, message="no", type="exceed_context_size_error", n_ctx=n_ctx), 500
    ),
    "vLLM": Refusal(
        lambda prompt, n_ctx: {
            "object": "error",
            "message": f"This model's maximum context length is {n_ctx} tokens. However, you requested {prompt + 500} "
            f"tokens ({prompt} in the messages, 500 in the completion). Please reduce the length of the messages or "
            "completion.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        }
    ),
    "SGLang": Refusal(
        lambda prompt, n_ctx: {
            "object": "error",
            "message": f"The input ({prompt} tokens) is longer than the model's context length ({n_ctx} tokens).",
            "type": "BadRequestError",
            "code": 400,
        }
    ),
    "SGLang, in the stream": Refusal(
        lambda prompt, n_ctx: _error(
            object="error",
            message=f"Input length ({prompt} tokens) exceeds the maximum allowed length ({n_ctx} tokens).",
            type="BadRequestError",
            code=400,
        ),
        200,
        streamed=True,
    ),
    "vLLM, in the stream": Refusal(
        lambda prompt, n_ctx: {
            "object": "error",
            "message": f"This model's maximum context length is {n_ctx} tokens.",
        },
        200,
        streamed=True,
    ),
    "LM Studio": Refusal(
        lambda prompt, n_ctx: {
            "error": f"Trying to keep the first {prompt} tokens when context the overflows. However, the model is "
            f"loaded with context length of only {n_ctx} tokens, which is not enough."
        },
        200,
        streamed=True,
    ),
    "LM Studio, newer": Refusal(
        lambda prompt, n_ctx: _error(message=f"Cannot truncate prompt with n_keep ({prompt}) >= n_ctx ({n_ctx})"), 400
    ),
    "OpenAI": Refusal(
        lambda prompt, n_ctx: _error(
            message=f"This model's maximum context length is {n_ctx} tokens. However, your messages resulted in "
            f"{prompt} tokens. Please reduce the length of the messages.",
            type="invalid_request_error",
            param="messages",
            code="context_length_exceeded",
        )
    ),
    "by its code alone": Refusal(lambda prompt, n_ctx: _error(message="no", code="context_length_exceeded")),
    "Ollama": Refusal(lambda prompt, n_ctx: _error(message="the input length exceeds the context length")),
    "Lemonade": Refusal(
        lambda prompt, n_ctx: _error(
            message="llama-server request failed",
            type="backend_error",
            details={
                "response": _error(
                    code=400, message="no", type="exceed_context_size_error", n_prompt_tokens=prompt, n_ctx=n_ctx
                )
            },
        ),
        500,
    ),
}


def prompt_tokens(body: dict) -> int:
    """As a tokenizer of three characters a token counts them: the messages and tools."""
    return len(json.dumps([body["messages"], body.get("tools", [])])) // 3


class Strict:
    """An endpoint of *context* tokens: refuses more, calls `read_file` when it is asked to, else answers. It gives in
    after 50 refusals, so that a client which asks for ever is found."""

    def __init__(self, wire, refusal: Refusal, context: int) -> None:
        self.wire = wire
        self.context = context
        self.refusal = refusal
        self.reads = 0
        self.refused = 0
        self.served: list[dict] = []

    def __call__(self, asked) -> object:
        body = asked.body
        prompt = prompt_tokens(body)
        if prompt + (body.get("max_tokens") or 0) > self.context and self.refused < 50:
            self.refused += 1
            told = self.refusal.body(prompt, self.context)
            if self.refusal.streamed:
                return self.wire.says(self.wire.event(told) + self.wire.DONE)
            return self.wire.says(json.dumps(told).encode(), status=self.refusal.status, media="application/json")
        self.served.append(body)
        last = body["messages"][-1]
        reads = last["role"] == "user" and "read" in last["content"][:40]
        results = sum(message["role"] == "tool" for message in body["messages"])
        if reads or results < self.reads:
            call = {
                "index": 0,
                "id": f"c{len(self.served)}",
                "function": {"name": "read_file", "arguments": '{"path":"a"}'},
            }
            return self.wire.says(
                self.wire.chunk(tool_calls=[call]) + self.wire.chunk(finish="tool_calls") + self.wire.DONE
            )
        counted = self.wire.usage(prompt, 2)
        return self.wire.says(self.wire.chunk("Done.") + self.wire.chunk(finish="stop") + counted + self.wire.DONE)


@pytest.fixture
async def talking(upstream, wire) -> AsyncIterator[Callable]:
    async def talking(
        refusal: Refusal,
        *says: str,
        agent: Agent = AGENT,
        options: TurnOptions = NO_OPTIONS,
        context: int = CONTEXT,
        journal: MemoryJournal | None = None,
        **spec: object,
    ):
        strict = Strict(wire, refusal, context)
        there = await upstream(strict)
        opens = OpenEndpoints((EndpointConfig(url=there.url, model="m", backoff=0.001),))
        events = []
        catalog = Catalog.of(agent, models={"local": ModelSpec("local", open=opens, **spec)})
        async with Runtime(catalog, journal) as runtime:
            session = await runtime.open(agent, "talk")
            for each in says:
                turn = await runtime.start(session, TurnRequest(each, options=options))
                events += [event async for event in turn.events()]
            history = await runtime.history(session)
        return strict, events, history

    return talking


def ends(events: list) -> list[str]:
    return [event.status for event in events if isinstance(event, TurnEnded)]


@pytest.mark.parametrize("name", REFUSALS)
async def test_an_unknown_context_is_learnt_from_the_refusal_and_the_session_lives_on(talking, name):
    strict, events, _ = await talking(REFUSALS[name], "Please read it.", "And now?", "Please read it again.", "And?")

    assert ends(events) == ["completed"] * 4
    told = [event for event in events if isinstance(event, ModelRetried)]
    assert told
    assert all(event.kind == "context_length" and "shortened" in event.reason for event in told)
    said_nothing = name in ("Ollama", "by its code alone")
    assert strict.refused <= (3 if said_nothing else 1)


async def test_what_was_sent_shortened_is_sent_again_in_the_same_bytes(talking):
    strict, _, _ = await talking(REFUSALS["llama.cpp"], "Please read it.", *["And now?"] * 6)

    # The last exchange was refused in its first request; from then on nothing is shortened anew.
    read = next(i for i, body in enumerate(strict.served) if body["messages"][-1]["role"] == "tool")
    for before, after in zip(strict.served[read:], strict.served[read + 1 :], strict=False):
        assert after["messages"][: len(before["messages"])] == before["messages"]
    assert READ_RESULT in {each["function"]["name"] for each in strict.served[read]["tools"]}


async def test_the_context_is_asked_of_the_server_when_the_refusal_names_none(upstream, wire, endpoint, fails):
    model, there = await endpoint(wire.fails(400, {"message": "the input length exceeds the context length"}))
    there.listed = wire.says(b'{"data": [{"id": "m", "max_model_len": 8192}]}', media="application/json")
    error, _ = await fails(model)

    assert (error.kind, error.window) == ("context_length", 8192)


@pytest.mark.parametrize("path", ["/props", "/v1/health"])
async def test_props_and_health_say_it_too(upstream, wire, endpoint, fails, path):
    model, there = await endpoint(wire.fails(400, {"message": "exceeds the context length"}))
    there.below[path] = {
        "default_generation_settings": {"n_ctx": 4096},
        "all_models_loaded": [{"model_name": "m", "recipe_options": {"ctx_size": 4096}}],
    }
    error, _ = await fails(model)

    assert (error.kind, error.window) == ("context_length", 4096)


async def test_a_result_fits_what_is_left_of_the_window(talking):
    strict, events, _ = await talking(
        REFUSALS["llama.cpp"], "Please read it.", "Please read it again.", "Please read it once more.", window=CONTEXT
    )

    assert ends(events) == ["completed"] * 3
    assert strict.refused == 0
    for result in (event for event in events if isinstance(event, ToolEnded)):
        assert len(result.content) < CONTEXT * 4 * 0.45
        assert READ_RESULT in result.content


async def test_a_pasted_message_that_is_larger_than_the_window_is_cut_and_says_how_to_read_on(talking):
    pasted = f"What is this? {LONG}"
    strict, events, history = await talking(REFUSALS["llama.cpp"], pasted, "And?", window=CONTEXT)

    assert ends(events) == ["completed"] * 2
    first = strict.served[0]["messages"][1]
    assert first["content"].startswith("What is this? line 0")
    assert READ_RESULT in first["content"]
    assert strict.served[-1]["messages"][1] == first
    assert history[0] == UserMessage(pasted)  # nothing of it is lost


async def test_a_summary_is_made_in_rounds_that_fit_the_window(talking):
    journal = MemoryJournal()
    said = [f"Note {n}: {LONG[: 6_000 + n]}" for n in range(10)]
    await talking(REFUSALS["llama.cpp"], *said, context=100_000, journal=journal)
    strict, events, _ = await talking(REFUSALS["llama.cpp"], "And?", "And?", window=CONTEXT, journal=journal)

    assert ends(events) == ["completed"] * 2
    assert sum(isinstance(event, ContextCompacted) for event in events) == 1
    rounds = [body for body in strict.served if "Summarize the conversation" in body["messages"][0]["content"]]
    assert len(rounds) >= 3
    assert "Note 0" in rounds[0]["messages"][1]["content"]
    assert "Notes on what came before" in rounds[1]["messages"][1]["content"]
    assert strict.refused <= 1  # before its first answer, the characters of a token are a guess


async def test_a_context_that_is_learnt_in_a_long_conversation_bounds_its_summary_too(talking):
    said = [f"Note {n}: {LONG[:3_000]}" for n in range(12)]
    strict, events, _ = await talking(REFUSALS["vLLM"], *said)

    assert ends(events) == ["completed"] * 12
    assert strict.refused == 1


async def test_a_summary_that_exceeds_the_context_is_asked_for_in_smaller_rounds(talking, caplog):
    journal = MemoryJournal()
    said = [f"Note {n}: {LONG[: 6_000 + n]}" for n in range(16)]
    await talking(REFUSALS["llama.cpp"], *said, context=100_000, journal=journal)
    # The window is configured wrong: the summary is the first request that is too large.
    strict, events, _ = await talking(REFUSALS["llama.cpp"], "And?", window=3 * CONTEXT, journal=journal)

    assert ends(events) == ["completed"]
    assert strict.refused
    assert sum(isinstance(event, ContextCompacted) for event in events) == 1
    assert "no summary could be had" not in caplog.text


async def test_max_tokens_that_leave_the_prompt_no_room_are_lowered_to_what_fits(talking):
    options = TurnOptions(sampling=Sampling(max_tokens=CONTEXT))
    strict, events, _ = await talking(REFUSALS["vLLM"], "Hello", "And?", options=options)

    assert ends(events) == ["completed"] * 2
    assert strict.refused == 1
    assert 4000 < strict.served[-1]["max_tokens"] < CONTEXT


async def test_a_request_that_nothing_can_be_left_out_of_fails_with_the_servers_words(talking):
    agent = Agent("a", instructions=LONG)
    _strict, events, _ = await talking(REFUSALS["llama.cpp"], "Hello", "And?", agent=agent)

    assert ends(events) == ["failed"] * 2
    error = next(event.error for event in events if isinstance(event, TurnEnded))
    assert error.type == "context_length"
    assert "exceeds the available context" in error.message


TOPICS = [f"topic {n}: " + "some words of it " * 60 for n in range(8)]


@pytest.mark.parametrize(
    ("agent", "context", "recorded", "most"),
    [(attrs.evolve(AGENT, instructions=LONG), CONTEXT, True, 4), (AGENT, 10, True, 20), (AGENT, 10, False, 5)],
    ids=["nothing is left to leave out", "everything is refused, summaries too", "everything is refused"],
)
async def test_what_was_guessed_in_vain_is_forgotten(upstream, wire, agent, context, recorded, most):
    """A conversation that the server took before is sent whole again."""
    strict = Strict(wire, REFUSALS["Ollama"], CONTEXT)
    there = await upstream(strict)
    opens = OpenEndpoints((EndpointConfig(url=there.url, model="m"),))
    async with Runtime(Catalog.of(AGENT, models={"local": ModelSpec("local", open=opens)})) as runtime:
        session = await runtime.open(AGENT, "talk")
        for topic in TOPICS[:-1]:
            assert (await (await runtime.start(session, topic)).result()).status == "completed"
        strict.context = context
        if recorded:
            other = await runtime.sessions.fork("", session.id)
            failing = await runtime.start(Session(other.id, agent), "Go on.")
        else:
            failing = await runtime.once(agent, TurnRequest(transcript=tuple(map(UserMessage, TOPICS))))
        failed = await failing.result()
        refused, strict.context = strict.refused, CONTEXT
        last = await (await runtime.start(session, TOPICS[-1])).result()

    assert (failed.status, last.status) == ("failed", "completed")
    assert refused <= most
    sent = [message["content"] for message in strict.served[-1]["messages"] if message["role"] == "user"]
    assert sent == TOPICS
    assert strict.refused == refused


async def test_of_many_results_in_one_turn_the_oldest_are_left_out(upstream, wire):
    strict = Strict(wire, REFUSALS["llama.cpp"], CONTEXT)
    strict.reads = 8
    there = await upstream(strict)
    opens = OpenEndpoints((EndpointConfig(url=there.url, model="m"),))
    catalog = Catalog.of(AGENT, models={"local": ModelSpec("local", open=opens, window=CONTEXT)})
    async with Runtime(catalog) as runtime:
        asked = TurnRequest(transcript=(UserMessage("Please read it."),))
        turn = await runtime.once(AGENT, asked)  # nothing is recorded, so there is no summary
        events = [event async for event in turn.events()]

    assert ends(events) == ["completed"]
    assert strict.refused <= 1
    assert len(strict.served) == 9
    last = strict.served[-1]["messages"]
    assert [message["role"] for message in last[:2]] == ["system", "user"]
    assert last[-1]["content"].startswith("line 0 of a long file")
    assert "left out to make room" in last[3]["content"]
    changed = [
        after["messages"][: len(before["messages"])] != before["messages"]
        for before, after in itertools.pairwise(strict.served)
    ]
    assert sum(changed) <= 4  # not at every step
