"""A toolset as one session has it: its resource is opened at the first call and closed at the end, and a call goes the
whole way of a model's: text, validation, approval, time limit, result. It is a real turn of a real Runtime."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import msgspec

from gaia_core.agent import Agent, Limits
from gaia_core.catalog import Catalog
from gaia_core.events import ApprovalRequested, InputRequested, Outcome, ToolEnded, ToolProgress
from gaia_core.frozen_types import made_once
from gaia_core.messages import FunctionCall, ToolCall, UserMessage, text_of
from gaia_core.models import ModelRequest, ScriptedModel
from gaia_core.runtime import Runtime
from gaia_core.session import Session
from gaia_core.tools import Toolset
from gaia_core.turn import Audience, Turn, TurnRequest

_LIMITS = Limits(tool_seconds=10.0, seconds=300.0)


@attrs.frozen
class Result:
    """How a call ended. *content* is what the model reads; *asked*: the questions and requests for approval."""

    __attrs_pre_init__ = made_once

    outcome: Outcome
    content: str
    seconds: float = 0.0
    still_running: bool = False
    progress: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the tool gave a result."""
        return self.outcome == "ok"


class OpenToolset:
    """See `opened`."""

    def __init__(self, runtime: Runtime, session: Session) -> None:
        self._runtime = runtime
        self._session = session

    async def call(
        self,
        name: str,
        arguments: str | Mapping[str, Any] = "{}",
        *,
        approve: bool = True,
        answers: Sequence[str] = (),
    ) -> Result:
        """Call the tool *name* as a model does: *arguments* are the JSON text that it wrote (or a mapping, encoded).

        *approve* answers requests for approval, *answers* the tool's questions, in their order; a question too many
        raises AssertionError. Never raises what the tool does: that is the result.
        """
        turn = await self.start(name, arguments)
        left, progress, asked = list(answers), [], []
        result: Result | None = None
        async for event in turn.events():
            match event:
                case ToolProgress():
                    progress.append(event.text)
                case ApprovalRequested():
                    asked.append(event.reason)
                    await turn.decide(event.approval_id, approve)
                case InputRequested():
                    asked.append(event.question)
                    if not left:
                        await turn.cancel()
                        raise AssertionError(f"{name} asked {event.question!r}; give one more of answers=")
                    await turn.answer(event.request_id, left.pop(0))
                case ToolEnded():
                    result = Result(event.outcome, event.content, event.seconds, event.still_running)
        if result is None:
            ended = await turn.result()
            raise AssertionError(f"the call of {name} had no end: {ended.error.message if ended.error else ended}")
        return attrs.evolve(result, progress=tuple(progress), asked=tuple(asked))

    async def start(self, name: str, arguments: str | Mapping[str, Any] = "{}") -> Turn:
        """Begin such a call; the turn that makes it, for a test that cancels it (`await turn.cancel()`)."""
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        message = msgspec.json.encode(FunctionCall(name, text)).decode()
        return await self._runtime.start(self._session, TurnRequest(message, audience=Audience.INTERACTIVE))


@asynccontextmanager
async def opened(toolset: Toolset, *, limits: Limits = _LIMITS) -> AsyncIterator[OpenToolset]:
    """*toolset* in a session of its own, which ends, and with it the resource, when the block does.

    *limits* are those of its agent; by default a call may take 10 seconds.
    """
    agent = Agent("tested", tools=toolset, limits=limits)
    async with Runtime(Catalog.of(agent, models={"local": ScriptedModel(_answer)})) as runtime:
        yield OpenToolset(runtime, await runtime.open(agent))


def _answer(request: ModelRequest) -> str | ToolCall:
    """The call that the user's message is; a word when its result is there."""
    last = request.messages[-1]
    if not isinstance(last, UserMessage):
        return "Done."
    return ToolCall("", msgspec.json.decode(text_of(last.content), type=FunctionCall))
