"""Tool calls: validate, then approve, then run (law 6). Whatever happens becomes a result that the model can act on.

A call is first *planned*: what becomes of it, as far as that is known at once. The plan's opening facts (it starts, it
waits for approval, it is refused) are recorded together with the model's answer, so that the intent precedes the
effect and costs no commit of its own. `_call_execution` does what a plan says.
"""

from collections.abc import Callable, Iterable
from typing import Any

from gaia_core.agent import FIND_TOOLS, Agent
from gaia_core.errors import ArgumentsError, NestingError
from gaia_core.events import LimitReached, Outcome
from gaia_core.facts import Decided, Done, Fact, Started
from gaia_core.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from gaia_core.models import problem_of
from gaia_core.nesting import check_nesting
from gaia_core.tools import Bound, nearest
from gaia_core.turn._turn_context import TurnContext
from gaia_core.turn.calls._approval import AGENT_CHANGED, approval_of, is_allowed, still_holds, wait_for_decision
from gaia_core.turn.calls._approval_grant import decode_grant
from gaia_core.turn.calls._call_execution import CallExecution
from gaia_core.turn.calls._call_plan import CallForApproval, Plan, ReadyCall, RefusedCall
from gaia_core.turn.calls._long_results import READ_RESULT, read_result
from gaia_core.turn.context._transcript import OpenCall, Transcript
from gaia_core.turn.tool_search._find_tools import find_tools

UNKNOWN_OUTCOME = (
    "The server was restarted while this call ran. Whether it had an effect is unknown, and it is not run again by "
    "itself. Find out before you repeat it."
)

_FAILED = frozenset(("error", "invalid", "unknown_tool", "timeout"))
_MOST_FAILURES = 2
_REPEATED = (
    "Not run: the same call of {0} has failed twice, and would fail again. Do something else: call {0} with other "
    "arguments, as its error says, call another tool, or tell the user what is missing."
)

_READ_RESULT = Bound(read_result, "gaia")
_FIND_TOOLS = Bound(find_tools, "gaia")


def tool_of(agent: Agent, transcript: Transcript, name: str) -> Bound | None:
    """The tool of *agent* that a model means by *name*; `read_result` is there when there is something to read,
    `find_tools` when not all tools are sent."""
    bound = agent.tools.get(name)
    if bound is None and name == FIND_TOOLS and agent.search is not None:
        return _FIND_TOOLS
    if bound is None and name == READ_RESULT and (transcript.full or agent.search is not None):
        return _READ_RESULT
    return bound


def unknown_tool(agent: Agent, call: ToolCall, others: tuple[str, ...] = ()) -> RefusedCall:
    """A call of a tool that neither *agent* has nor the client (*others*)."""
    core = agent.core.names if agent.search is None else (*agent.core.names, FIND_TOOLS)
    known = ", ".join((*core, *others)) or "none"
    content = f"There is no tool {call.name!r}.{nearest(call.name, (*agent.tools.names, *others))} Tools: {known}"
    return RefusedCall(call, "unknown_tool", content)


def invalid_arguments(call: ToolCall, error: ArgumentsError) -> RefusedCall:
    """A call whose arguments don't fit."""
    return RefusedCall(call, "invalid", f"{error}\nCall {call.name} again with valid arguments.")


def unusable_arguments(call: ToolCall, problem: str) -> RefusedCall:
    """A call whose arguments are not one whole JSON object, for the reason *problem*."""
    words = f"The call of {call.name} was not run: its arguments can't be used, {problem}."
    return RefusedCall(call, "invalid", f"{words}\nCall {call.name} again with one whole JSON object.")


def nested_too_deep(call: ToolCall) -> RefusedCall | None:
    """The refusal of a call whose arguments are nested too deep, also for a client's tool; None for any other call."""
    try:
        check_nesting(call.arguments)
    except NestingError as error:
        return invalid_arguments(call, ArgumentsError(call.name, (f"arguments: {error}; make them flatter",)))
    return None


class ToolCalls:
    """The calls of one turn's steps. *limit* is set when the turn must end after the step."""

    __slots__ = (
        "_context",
        "_running",
        "asks",
        "limit",
    )

    def __init__(self, context: TurnContext, emit: Callable[..., None], delegate: Callable[..., Any]) -> None:
        self._context = context
        self._running = CallExecution(context, emit, delegate)
        self.limit: LimitReached | None = None
        self.asks = True
        """Whether an approval may be asked for. Not beside calls that the client has received already: it would have to
        answer both, and the turn ends only when its own calls are over. Set for each answer of the model."""

    def batches(self, calls: Iterable[ToolCall]) -> list[list[ToolCall]]:
        """*calls* in the groups that run together: an exclusive one is alone."""
        batches: list[list[ToolCall]] = [[]]
        for call in calls:
            bound = self.get(call.name)
            if bound is not None and bound.tool.exclusive:
                batches += [[call], []]
            else:
                batches[-1].append(call)
        return [batch for batch in batches if batch]

    def get(self, name: str) -> Bound | None:
        """The tool that a model means by *name*."""
        return tool_of(self._context.agent, self._context.transcript, name)

    # Planning.

    def plan(self, call: ToolCall) -> Plan:
        """What becomes of *call*, counted against the limits."""
        if reason := self._failed_before(call):
            return RefusedCall(call, "denied", reason)
        bound = self.get(call.name)
        if bound is None:
            offered = tuple(tool.name for tool in self._context.options.client_tools)
            return nested_too_deep(call) or unknown_tool(self._context.agent, call, offered)
        most, budget = self._context.options.tool_calls, self._context.budget
        if most is not None and budget.tool_calls >= most:
            content = f"Not run: the request allows {most} tool calls, and they were made. Answer with what you know."
            return RefusedCall(call, "denied", content)
        if reached := budget.tool_call():
            self.limit = reached
            return RefusedCall(call, "denied", f"Not run: {reached.message}.")
        if problem := problem_of(call.arguments):
            return unusable_arguments(call, problem)
        try:
            arguments = bound.tool.parameters.decode(call.name, call.arguments)
        except ArgumentsError as error:
            return invalid_arguments(call, error)
        return approval_of(self._context, call, bound, arguments, asks=self.asks)

    def _failed_before(self, call: ToolCall) -> str:
        """What to do instead of *call*, if the same one has failed twice since the user spoke, and not succeeded since;
        else ""."""
        outcomes: dict[str, Outcome | None] = {}
        failed = 0
        for entry in reversed(self._context.transcript.entries):
            message = entry.message
            if isinstance(message, ToolMessage):
                outcomes[message.tool_call_id] = message.outcome
            elif isinstance(message, AssistantMessage):
                same = [made for made in message.tool_calls if made.function == call.function]
                ended = [outcomes.get(made.id) for made in same]
                if "ok" in ended:
                    break
                failed += sum(outcome in _FAILED for outcome in ended)
            elif isinstance(message, UserMessage):
                break
        return _REPEATED.format(call.name) if failed >= _MOST_FAILURES else ""

    def replan(self, opened: OpenCall) -> Plan:
        """What becomes of a call that another process left open."""
        call = opened.call
        bound = self.get(call.name)
        if opened.started is None and opened.asked is None:
            return self.plan(call)
        if bound is None:
            return RefusedCall(
                call, "unknown", UNKNOWN_OUTCOME if opened.started else f"There is no tool {call.name!r} now."
            )
        try:
            arguments = bound.tool.parameters.decode(call.name, call.arguments)
        except ArgumentsError as error:  # the tool has changed meanwhile
            return RefusedCall(
                call, "unknown" if opened.started else "invalid", UNKNOWN_OUTCOME if opened.started else str(error)
            )
        asked = opened.asked
        holds = asked is not None and still_holds(self._context, asked)
        if opened.started is not None:
            allowed = holds if asked is not None else is_allowed(self._context, call, bound)
            if not bound.tool.idempotent or not allowed:
                return RefusedCall(call, "unknown", UNKNOWN_OUTCOME)
            return ReadyCall(call, bound, arguments, opened=True, replies=tuple(opened.replies))
        assert asked is not None
        if not holds:
            return approval_of(self._context, call, bound, arguments, withdrawn=asked)
        self._context.turn.answers.ask(asked.approval_id)
        return CallForApproval(call, bound, arguments, asked, opened=True)

    def opening(self, plans: Iterable[Plan]) -> tuple[Fact, ...]:
        """What is recorded before any of *plans* is carried out."""
        facts: list[Fact] = []
        for plan in plans:
            if isinstance(plan, CallForApproval):
                if (old := plan.withdrawn) is not None:
                    facts.append(
                        Decided(old.call_id, approved=False, reason=AGENT_CHANGED, approval_id=old.approval_id)
                    )
                if not plan.opened:
                    facts.append(plan.asked)
                continue
            if plan.decided is not None:
                facts.append(plan.decided)
            if isinstance(plan, RefusedCall):
                facts.append(self._done(plan.call, plan.outcome, plan.content))
            elif not plan.opened:
                facts.append(self._started(plan.call))
        return tuple(facts)

    def _started(self, call: ToolCall) -> Started:
        return Started(call.id, call.name, self._running.key(call))

    def _done(self, call: ToolCall, outcome: Outcome, content: str) -> Done:
        self._context.counts.tool_call(call.name if self.get(call.name) is not None else "(unknown)", outcome, None)
        return Done(call.id, call.name, outcome, content)

    # Carrying out.

    async def run(self, plans: Iterable[Plan]) -> None:
        """Carry out *plans*, whose opening is recorded; all together."""
        todo = [plan for plan in plans if not isinstance(plan, RefusedCall)]
        if len(todo) == 1:
            await self._one(todo[0])
            return
        await self._running.together([self._one(plan) for plan in todo])

    async def _one(self, plan: ReadyCall | CallForApproval) -> None:
        replies: tuple[str | None, ...] = ()
        if isinstance(plan, CallForApproval):
            if not await self._decided(plan):
                return
        else:
            replies = plan.replies
        await self._running.run(plan.call, plan.bound, plan.arguments, replies)

    async def _decided(self, plan: CallForApproval) -> bool:
        """Wait for the approval; whether the call may run. The decision is recorded either way, with what follows."""
        context, call = self._context, plan.call
        decided = await wait_for_decision(context, plan)
        if decided.approved:
            await context.recorder.add(decided, self._started(call))
        else:
            words = f"Denied: {decided.reason or 'the user said no'}. Go on without this call."
            await context.recorder.add(decided, self._done(call, "denied", words))
        context.turn.answers.settle(plan.asked.approval_id)
        if decided.grant:
            context.grants.append(decode_grant(decided.grant))
        return decided.approved
