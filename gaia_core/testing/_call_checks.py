"""The promises that show when a toolset's tools are called: by real turns, on an event loop of their own.

Each tool's handler is watched, so that what it raised, how much it gave back and whether it still runs are seen as
they are, before a runtime makes them harmless.
"""

import asyncio
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import attrs
import msgspec

from gaia_core.agent import Limits
from gaia_core.errors import ToolError
from gaia_core.events import ToolStarted
from gaia_core.testing._open_toolset import OpenToolset, Result, opened
from gaia_core.testing._sample_arguments import odd
from gaia_core.tools import Bound, Tool, Toolset

_LIMITS = Limits(tool_seconds=60.0, seconds=600.0, tool_calls=1_000)
_BEGIN_SECONDS = 0.05
_SHORT_SECONDS = 0.25
_SHOWN = 160

Say = Callable[[str, str], None]
"""Takes a promise that is broken, and how."""


class ResourceWatch:
    """What happened inside handlers: how many run, what the last one raised, how much the last one gave."""

    def __init__(self) -> None:
        self.running = 0
        self.raised: BaseException | None = None
        self.size = 0

    def begin(self) -> None:
        """Forget the last call."""
        self.raised, self.size = None, 0

    def over(self, tool: Tool) -> Tool:
        """*tool* with its handler watched."""
        function = tool.handler
        if tool.is_async:

            @functools.wraps(function)
            async def later(**arguments: Any) -> Any:
                self.running += 1
                try:
                    return self._gave(await function(**arguments))
                except BaseException as error:
                    self.raised = error
                    raise
                finally:
                    self.running -= 1

            return attrs.evolve(tool, handler=later)

        @functools.wraps(function)
        def now(**arguments: Any) -> Any:
            self.running += 1
            try:
                return self._gave(function(**arguments))
            except BaseException as error:
                self.raised = error
                raise
            finally:
                self.running -= 1

        return attrs.evolve(tool, handler=now)

    def _gave(self, result: Any) -> Any:
        self.size = len(result) if isinstance(result, str | bytes) else len(msgspec.json.encode(result, enc_hook=str))
        return result


@attrs.frozen(eq=False)
class Behaviour:
    """What is called. *calls* and *slow* are arguments by tool; *odd* names the tools that are also called wrongly."""

    toolset: Toolset
    calls: Mapping[str, Mapping[str, Any]]
    slow: Mapping[str, Mapping[str, Any]]
    odd: frozenset[str]
    grace: float
    result_chars: int
    say: Say

    def run(self) -> None:
        """Call everything. Ends in bounded time whatever the tools do."""
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._bounded(self._calls))
            for name, arguments in {**self.calls, **self.slow}.items():
                loop.run_until_complete(self._bounded(functools.partial(self._cancelled, name, arguments)))
                loop.run_until_complete(self._bounded(functools.partial(self._timed_out, name, arguments)))
        finally:
            _end(loop)

    async def _bounded(self, check: Callable[[], Any]) -> None:
        """Await *check*, whose tools may hold it up for ever: it is given up after its own deadlines have passed."""
        task = asyncio.ensure_future(check())
        await asyncio.wait((task,), timeout=(len(self.calls) + 2) * (_LIMITS.tool_seconds + self.grace))
        if task.done():
            task.result()

    def _watched(self, *, timeout: float | None = None) -> tuple[ResourceWatch, Toolset]:
        watch = ResourceWatch()

        def change(tool: Tool) -> Tool:
            watched = watch.over(tool)
            return attrs.evolve(watched, timeout=timeout) if timeout is not None else watched

        return watch, _with_tools(self.toolset, change)

    async def _calls(self) -> None:
        """Each call, then odd ones, in one session."""
        watch, toolset = self._watched()
        async with opened(toolset, limits=_LIMITS) as tools:
            for name, arguments in self.calls.items():
                await self._judged(tools, watch, name, arguments, valid=True)
                for wrong in odd(toolset[name], arguments) if name in self.odd else ():
                    await self._judged(tools, watch, name, wrong, valid=False)

    async def _judged(
        self, tools: OpenToolset, watch: ResourceWatch, name: str, arguments: Mapping[str, Any], *, valid: bool
    ) -> None:
        watch.begin()
        result = await tools.call(name, arguments)
        called = _shown(name, arguments)
        if watch.size > self.result_chars:
            self.say("result size", f"{called} gave {watch.size} characters; give at most {self.result_chars}")
        raised = watch.raised
        if raised is not None and not isinstance(raised, ToolError):
            kind = f"{type(raised).__name__}({str(raised)[:_SHOWN]!r})"
            self.say("errors in words", f"{called} raised {kind}; raise ToolError, with what the model should do")
        elif raised is not None and not str(raised).strip():
            self.say("errors in words", f"{called} raised a ToolError without words")
        elif valid and not result.ok:
            self.say(
                "errors in words", f"{called} was given as a valid call, and ended with: {result.content[:_SHOWN]}"
            )

    async def _cancelled(self, name: str, arguments: Mapping[str, Any]) -> None:
        """A call that is cancelled ends, and the next one, in the same session, is as before."""
        watch, toolset = self._watched()
        tools_open = opened(toolset, limits=_LIMITS)
        tools = await tools_open.__aenter__()
        called = _shown(name, arguments)
        turn = await tools.start(name, arguments)
        async for event in turn.events():
            if isinstance(event, ToolStarted):
                break
        await asyncio.sleep(_BEGIN_SECONDS)
        if not await _within(self.grace, turn.cancel()) or not await self._idle(watch):
            self.say("cancellation", f"{called} was cancelled and still runs {self.grace:g} s later")
            return
        again = name if name in self.calls else next(iter(self.calls), None)
        if again is not None:
            result = await _result(self.grace, tools.call(again, self.calls[again]))
            if result is None or not result.ok:
                how = "hangs" if result is None else f"ends with: {result.content[:_SHOWN]}"
                self.say("cancellation", f"after {called} was cancelled, {_shown(again, self.calls[again])} {how}")
                return
        if not await _within(self.grace, tools_open.__aexit__(None, None, None)):
            self.say("cancellation", f"after {called} was cancelled, its resource does not close")

    async def _timed_out(self, name: str, arguments: Mapping[str, Any]) -> None:
        """A call whose time is over ends, on a thread too."""
        watch, toolset = self._watched(timeout=_SHORT_SECONDS)
        tools_open = opened(toolset, limits=_LIMITS)
        tools = await tools_open.__aenter__()
        called = _shown(name, arguments)
        if not await _within(self.grace, tools.call(name, arguments)) or not await self._idle(watch):
            words = "let asyncio cancel it, or look at ctx.cancelled on a thread"
            self.say("timeout", f"{called} still runs {self.grace:g} s after its time of {_SHORT_SECONDS} s; {words}")
            return
        await _within(self.grace, tools_open.__aexit__(None, None, None))

    async def _idle(self, watch: ResourceWatch) -> bool:
        """Whether no handler runs, or none does soon."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.grace
        while watch.running and loop.time() < until:  # noqa: ASYNC110  # it may be a thread that ends
            await asyncio.sleep(0.01)
        return not watch.running


def _with_tools(toolset: Toolset, change: Callable[[Tool], Tool]) -> Toolset:
    def made() -> Iterator[Toolset]:
        for member in toolset.members:
            yield _one(member, change(member.tool))

    return functools.reduce(lambda one, other: one | other, made(), Toolset("none"))


def _one(member: Bound, tool: Tool) -> Toolset:
    return Toolset(member.origin, (tool,), resource=member.resource)


async def _within(seconds: float, what: Any) -> bool:
    """Whether *what* ends in time; else it is left to itself. Raises what it raises."""
    task = asyncio.ensure_future(what)
    await asyncio.wait((task,), timeout=seconds)
    if not task.done():
        return False
    task.result()
    return True


async def _result(seconds: float, what: Any) -> Result | None:
    task = asyncio.ensure_future(what)
    await asyncio.wait((task,), timeout=seconds)
    return task.result() if task.done() else None


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Close *loop*; tasks that don't end when they are cancelled are left behind."""
    for _ in range(5):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        with suppress(Exception):
            loop.run_until_complete(asyncio.wait(tasks, timeout=0.2))
    loop.set_exception_handler(lambda _loop, _context: None)  # those left say so when they are collected
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _shown(name: str, arguments: Mapping[str, Any]) -> str:
    text = msgspec.json.encode(arguments).decode()
    return f"{name}({text if len(text) <= _SHOWN else text[:_SHOWN] + '…'})"
