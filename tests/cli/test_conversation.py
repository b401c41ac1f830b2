"""A conversation on a runtime: what is shown of each kind of turn, what is asked, and how the program ends it.

Ctrl-C is a real SIGINT of this process, sent by the model or the person of the test.
"""

import asyncio
import io
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from gaia_core import (
    Agent,
    ApprovalPolicy,
    Catalog,
    Context,
    Limits,
    ModelSpec,
    NotFoundError,
    Toolset,
    tool,
)
from gaia_core import call as call_of
from gaia_core.cli.terminal import _conversation
from gaia_core.cli.terminal._conversation import conversation
from gaia_core.cli.terminal._dialogue import dialogue
from gaia_core.cli.terminal._event_loop_thread import background
from gaia_core.cli.terminal._screen import PlainScreen
from gaia_core.events import ModelRetried, TextDelta
from gaia_core.messages import text_of
from gaia_core.models import Finished, ModelError, scripted


@tool(effects="read")
async def look(path: str) -> str:
    """Look."""
    return f"content of {path}"


@tool(effects="write")
async def erase(path: str) -> str:
    """Erase."""
    return f"{path} is gone"


@tool(effects="read")
async def choose(ctx: Context[None]) -> str:
    """Ask."""
    ctx.progress("about to ask")
    return await ctx.ask("Which?", ("red", "green"))


@tool(effects="read")
async def name(ctx: Context[None]) -> str:
    """Ask freely."""
    return await ctx.ask("What name?")


class Person:
    """Somebody who says and answers these things, one after the other, and then leaves."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def message(self) -> str | None:
        return self.answers.pop(0) if self.answers else None

    def ask(self, question: str, seconds: float) -> str | None:
        assert 0 < seconds <= 300
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        if answer is signal.SIGINT:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(30)  # the interrupt ends it
        return answer


class Told:
    """What was written by a conversation, and its exit code."""

    def __init__(self, code: int, out: str, err: str, person: Person, messages: list[str]) -> None:
        self.code, self.out, self.err, self.person, self.messages = code, out, err, person, messages


@pytest.fixture
def talk():
    """Talk to an agent with these tools, whose model gives these answers: *person* says something, or asks once."""

    def talk(
        *answers: object,
        tools: tuple = (),
        person: Person | None = None,
        agent: Agent | None = None,
        model=None,
        journal=None,
        **spec,
    ) -> Told:
        agent = agent or Agent("a", tools=Toolset("t", tools))
        made = model or scripted(*answers)
        catalog = Catalog.of(agent, models={"local": ModelSpec("local", open=lambda: made, **spec)})
        out, err = io.StringIO(), io.StringIO()
        handler = signal.getsignal(signal.SIGINT)
        with background() as loop:
            given = person or Person()
            screen = PlainScreen(out, err)
            with conversation(loop, catalog, None, screen, interactive=person is not None, journal=journal) as opened:
                talking = _conversation.Conversation(
                    opened.loop, opened.runtime, opened.session, screen, opened.interactive, given
                )
                code = dialogue(talking) if person and given.answers[:1] == ["Hi"] else talking.once("Hi")
                history = loop.run(opened.runtime.history(opened.session))
            assert opened.runtime.stats().running_turns == 0
        assert signal.getsignal(signal.SIGINT) is handler
        return Told(code, out.getvalue(), err.getvalue(), given, [text_of(message.content) for message in history])

    return talk


def test_an_answer(talk):
    told = talk("Hello.")

    assert (told.code, told.out, told.err) == (0, "Hello.\n", "")


def test_calls_in_parallel_say_whose_result_it_is(talk):
    together = asyncio.Barrier(2)

    @tool(effects="read")
    async def meet(path: str) -> str:
        """Wait for the other."""
        await together.wait()
        return f"met at {path}"

    both = (call_of("meet", path="a"), call_of("meet", path="b"))
    told = talk(both, call_of("look", path="c"), "Seen.", tools=(look, meet))

    called, results, rest = (told.err.splitlines()[start : start + 2] for start in (0, 2, 4))
    assert called == ['→ meet(path="a")', '→ meet(path="b")']
    assert sorted(results) == ["← meet: met at a", "← meet: met at b"]
    assert rest == ['→ look(path="c")', "← content of c"]


def test_a_sub_agent_is_indented(talk):
    inner = Agent("inner", tools=Toolset("t", (look,)))
    outer = Agent("outer", tools=Toolset("team", (inner.as_tool(),)))
    told = talk(call_of("inner", task="Look."), call_of("look", path="a"), "Inner says.", "Outer says.", agent=outer)

    assert told.out == "Outer says.\n"
    assert told.err.splitlines() == [
        '→ inner(task="Look.")',
        '  → look(path="a")',
        "  ← content of a",
        "  Inner says.",
        "← Inner says.",
    ]


@pytest.mark.parametrize(
    ("answers", "result"),
    [
        (("y",), "← a is gone"),
        (("YES",), "← a is gone"),
        (("always",), "← a is gone"),
        (("", "n"), "✗ Denied: the user said no. Go on without this call."),
        (("it is mine",), "✗ Denied: it is mine. Go on without this call."),
        ((EOFError(),), "■ cancelled"),
        ((signal.SIGINT,), "■ cancelled"),
    ],
)
def test_approvals(talk, answers, result):
    agent = Agent("a", tools=Toolset("t", (erase,)), approvals=ApprovalPolicy(effects={"write"}))
    told = talk(call_of("erase", path="a"), "Done.", agent=agent, person=Person(*answers))

    assert told.person.asked == ["Allow erase? y, n, always, or why not: "] * len(answers)
    assert told.err.startswith('→ erase(path="a")\n? erase may write:\n  erase\n  path: a\n  always: erase(path="a")\n')
    assert f"\n{result}\n" in told.err
    assert told.code == (130 if result == "■ cancelled" else 0)


def test_what_can_not_be_seen_of_a_call_is_written_out(talk):
    agent = Agent("a", tools=Toolset("t", (erase,)), approvals=ApprovalPolicy(effects={"write"}))
    told = talk(call_of("erase", path="a\u200b\u202e\U000e0041\rb"), "Done", agent=agent, person=Person("yes"))

    hidden = r"a\u200b\u202e\udb40\udc41"
    assert f"  path: {hidden}\\u000db\n" in told.err
    assert f'  always: erase(path="{hidden}\\rb")\n' in told.err
    assert f'→ erase(path="{hidden}\\rb")\n' in told.err


def test_an_approval_inside_a_sub_agent(talk):
    inner = Agent("inner", tools=Toolset("t", (erase,)), approvals=ApprovalPolicy(effects={"write"}))
    outer = Agent("outer", tools=Toolset("team", (inner.as_tool(),)))
    told = talk(
        call_of("inner", task="Go."), call_of("erase", path="a"), "Gone.", "Done.", agent=outer, person=Person("y")
    )

    assert "  ← a is gone\n" in told.err


def test_an_approval_that_expired_is_denied_by_the_turn(talk):
    policy = ApprovalPolicy(effects={"write"}, timeout=0.01)
    agent = Agent("a", tools=Toolset("t", (erase,)), approvals=policy)
    told = talk(call_of("erase", path="a"), "Done.", agent=agent, person=Person(None))

    assert "✗ Denied: nobody answered within 0.01 s" in told.err
    assert told.code == 0


def test_nobody_is_asked_for_an_approval_that_has_expired(talk, monkeypatch):
    late = SimpleNamespace(time=lambda: time.time() + 1, monotonic=time.monotonic)
    monkeypatch.setattr("gaia_core.cli.terminal._conversation.time", late)
    agent = Agent("a", tools=Toolset("t", (erase,)), approvals=ApprovalPolicy(effects={"write"}, timeout=0.5))
    told = talk(call_of("erase", path="a"), "Done.", agent=agent, person=Person())

    assert told.person.asked == []
    assert "✗ Denied: nobody answered within 0.5 s" in told.err


def test_questions_of_tools(talk):
    told = talk(
        call_of("choose"), call_of("name"), "Done.", tools=(choose, name), person=Person("blue", "2", "", "Ada")
    )

    assert told.person.asked == ["Answer: "] * 4
    assert "about to ask\n? Which?\n  1. red\n  2. green\n← green\n" in told.err
    assert "? What name?\n← Ada\n" in told.err


class Endless:
    """A model that says one word, presses Ctrl-C, and goes on for ever."""

    def __init__(self) -> None:
        self.closed = 0

    async def stream(self, request):
        try:
            yield (TextDelta("Once"),)
            os.kill(os.getpid(), signal.SIGINT)
            await _for_ever()
            yield (Finished("stop"),)
        finally:
            self.closed += 1


async def _for_ever():
    await asyncio.get_running_loop().create_future()


def test_ctrl_c_cancels_the_turn_and_the_conversation_goes_on(talk):
    model = Endless()
    told = talk(model=model, person=Person("Hi", "Again"))

    assert (told.code, told.out) == (0, "Once\n\nOnce\n")
    assert told.err.count("■ cancelled\n") == 2
    assert model.closed == 2


def test_ctrl_c_ends_a_single_message(talk):
    assert talk(model=Endless()).code == 130


@pytest.mark.parametrize(
    ("limits", "answer", "words"),
    [
        (Limits(steps=1), call_of("look", path="a"), "■ the limit of 1 steps is reached\n"),
        (Limits(seconds=0.05), None, "■ the limit of 0.05 seconds is reached\n"),
    ],
)
def test_limits(talk, limits, answer, words):
    class Slow:
        async def stream(self, request):
            await _for_ever()
            yield (Finished("stop"),)

    agent = Agent("a", tools=Toolset("t", (look,)), limits=limits)
    told = talk(answer, agent=agent, model=None if answer else Slow())

    assert told.err.endswith(words)
    assert told.code == 1


class Says:
    """A model that gives these deltas, or raises."""

    def __init__(self, *deltas: object) -> None:
        self.deltas = deltas
        self.asked = 0

    async def stream(self, request):
        self.asked += 1
        for delta in self.deltas:
            if isinstance(delta, Exception):
                raise delta
            yield (delta,)


@pytest.mark.parametrize(
    ("deltas", "code", "out", "err"),
    [
        ((TextDelta("Cut"), Finished("length")), 1, "Cut\n", "■ the model was cut off"),
        ((TextDelta("No"), Finished("content_filter")), 1, "No\n", "■ the model's endpoint filtered the answer"),
        ((Finished("stop"),), 0, "", "■ the model answered nothing"),
        ((ModelError("auth", "the key is wrong"),), 1, "", "✗ the key is wrong\n"),
        ((ModelError("busy", "busy", retry_after=7.0),), 1, "", "✗ busy (try again in 7 s)\n"),
        (
            (ModelRetried(1, 0.5, "a reset"), TextDelta("Yes"), Finished("stop")),
            0,
            "Yes\n",
            "the model failed (a reset); asked again in 0.5 s\n",
        ),
        (
            (ModelRetried(1, 2.0, "Loading model", "not_ready"), TextDelta("Yes"), Finished("stop")),
            0,
            "Yes\n",
            "waiting for the model (Loading model); asked again in 2.0 s\n",
        ),
        (
            (ModelRetried(1, 0.0, "the embedded model: fetching 1 %", "not_ready"), TextDelta("Yes"), Finished("stop")),
            0,
            "Yes\n",
            "waiting for the model (the embedded model: fetching 1 %)\n",
        ),
        (
            (ModelRetried(1, 0.0, "it is shortened", "context_length"), TextDelta("Yes"), Finished("stop")),
            0,
            "Yes\n",
            "it is shortened\n",
        ),
        ((KeyError("a bug"),), 1, "", "✗ the server failed (KeyError)"),
    ],
)
def test_how_a_turn_may_end(talk, deltas, code, out, err):
    told = talk(model=Says(*deltas))

    assert (told.code, told.out) == (code, out)
    assert told.err.startswith(err)


def test_another_model_that_is_not_ready_is_an_error(talk):
    told = talk(model=Says(ModelError("not_ready", "No model answers here.", retryable=True)))

    assert (told.code, told.err) == (1, "✗ No model answers here.\n")


def test_a_second_ctrl_c_leaves(talk):
    class Stubborn:
        """A model that doesn't end when it is told to."""

        async def stream(self, request):
            yield (TextDelta("Once"),)
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await _for_ever()
            except asyncio.CancelledError:
                os.kill(os.getpid(), signal.SIGINT)
                raise
            yield (Finished("stop"),)

    with pytest.raises(KeyboardInterrupt):
        talk(model=Stubborn())


def test_no_such_agent():
    catalog = Catalog.of(Agent("assistant"), models={"local": scripted("x")})
    screen = PlainScreen(io.StringIO(), io.StringIO())
    with background() as loop, pytest.raises(NotFoundError, match="Did you mean 'assistant'"):
        conversation(loop, catalog, "asistant", screen, interactive=False).__enter__()
