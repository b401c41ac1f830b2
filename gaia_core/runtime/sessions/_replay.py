"""Replay: a recorded conversation against its agent as it is now. No tool runs, and no model is asked.

The model's answers come from the record, and so do the results of the calls that the agent would still run. What is
compared is what it would do with them: its prompt and tools, whether each call fits its tool's schema and its approval
policy, and the messages of each request that follow from that. It stops at the first difference in the conversation:
what was recorded after it does not answer what would be asked.
"""

from collections.abc import Callable, Iterable

import attrs

from gaia_core.activity import detail_of
from gaia_core.agent import Agent
from gaia_core.errors import ArgumentsError, GaiaError, NotFoundError
from gaia_core.events import ToolCalled
from gaia_core.facts import Answered, Asked, Began, Compacted, Damaged, Decided, Done, Ended, Fact, Started
from gaia_core.frozen_types import made_once
from gaia_core.journal import Record
from gaia_core.messages import Message, ToolCall, ToolMessage, text_of, wire_bytes
from gaia_core.models import first_difference, problem_of
from gaia_core.runtime.sessions._history import audience_of
from gaia_core.turn import (
    MOST_CHARS,
    READ_RESULT,
    Grant,
    RefusedCall,
    Transcript,
    decode_grant,
    invalid_arguments,
    shortened,
    tool_of,
    unattended,
    unknown_tool,
    unusable_arguments,
)


@attrs.frozen
class Divergence:
    """Where the record and the agent as it is now part: the *turn* and its *step* (from 1), *what* it is of them, and
    both sides."""

    __attrs_pre_init__ = made_once

    turn: int
    step: int
    what: str
    recorded: str
    now: str


@attrs.frozen
class Replayed:
    """How much was compared, and what differs: first the agent's prompt and tools, then the conversation.

    *changed*: the agent's configuration differs from the recorded one, also where no model sees it (limits, say).
    """

    __attrs_pre_init__ = made_once

    turns: int
    requests: int
    calls: int
    changed: bool
    divergences: tuple[Divergence, ...]


def replay(
    facts: Iterable[tuple[Record, Fact]], agent_of: Callable[[Began], Agent], *, turn: int | None = None
) -> Replayed:
    """Compare the turns of a branch (*turn*: that one alone, from 1) with the agent that *agent_of* gives for each.

    Raises NotFoundError when there is no such turn, GaiaError for a damaged record.
    """
    replaying = _Replay(agent_of)
    number, last = 0, ""
    for record, fact in facts:
        if isinstance(fact, Damaged):
            raise GaiaError(f"the session can't be replayed: its record {record.seq} is damaged ({fact.problem})")
        if isinstance(fact, Began) and record.turn != last:
            number, last = number + 1, record.turn
        if turn is not None and 0 < turn < number:
            break
        if turn is None or number == turn:
            if not replaying.compare(number, record.seq, fact):
                break
        else:
            replaying.pass_over(record.seq, fact)
    if turn is not None and not 1 <= turn <= number:
        raise NotFoundError(f"there is no turn {turn}: the conversation has {number}")
    return replaying.replayed()


class _Call:
    """A call of the last answer: what the agent would do with it now, and what is recorded of it."""

    __slots__ = ("asked", "call", "decided", "reason", "refused", "started")

    def __init__(self, call: ToolCall) -> None:
        self.call = call
        self.refused: RefusedCall | None = None
        self.reason: str | None = None
        """Why it needs approval now."""
        self.started = self.asked = False
        self.decided: Decided | None = None


class _Replay:
    """The fold: two transcripts, *then* as recorded and *now* as it would be."""

    def __init__(self, agent_of: Callable[[Began], Agent]) -> None:
        self._agent_of = agent_of
        self._then, self._now = Transcript(), Transcript()
        self._grants: list[Grant] = []
        self._agent = Agent("none")
        self._asks_approval = False
        self._turn = self._step = self._same = 0
        self._open: dict[str, _Call] = {}
        self._told: dict[str, Divergence] = {}
        self._parted: Divergence | None = None
        self._turns = self._requests = self._calls = 0
        self._changed = False

    def replayed(self) -> Replayed:
        """What came of it."""
        if self._parted is None:
            self._messages()
        found = (*self._told.values(), *((self._parted,) if self._parted is not None else ()))
        return Replayed(self._turns, self._requests, self._calls, self._changed, found)

    def pass_over(self, seq: int, fact: Fact) -> None:
        """Take *fact* as it is."""
        self._then.apply(seq, fact)
        self._now.apply(seq, fact)
        self._granted(fact)

    def compare(self, turn: int, seq: int, fact: Fact) -> bool:
        """Take *fact*; False when the conversation parts there."""
        happens = fact
        match fact:
            case Began():
                self._begin(turn, fact)
            case Answered():
                self._step = fact.step
                self._messages()
                self._requests += 1
                theirs = fact.client_calls
                self._open = {call.id: _Call(call) for call in fact.message.tool_calls if call.id not in theirs}
            case Started() | Asked() | Decided() | Done() if (call := self._open.get(fact.call_id)) is not None:
                happens = self._of_call(call, fact)
            case Compacted():
                self._messages()
                self._same = 0
        if self._parted is not None:
            return False
        self._then.apply(seq, fact)
        self._now.apply(seq, happens)
        self._granted(fact)
        if isinstance(fact, Ended):
            self._messages()
        return self._parted is None

    def _granted(self, fact: Fact) -> None:
        if isinstance(fact, Decided) and fact.grant:
            self._grants.append(decode_grant(fact.grant))

    def _begin(self, turn: int, began: Began) -> None:
        """Compare the agent's prompt and tools."""
        self._turn, self._step, self._open = turn, 1, {}
        self._turns += 1
        self._asks_approval = audience_of(began).approves
        agent = self._agent = self._agent_of(began)
        self._changed |= began.fingerprint != agent.fingerprint
        told = (("system text", began.system, agent.system_hash), ("tools", began.tools, agent.tools.fingerprint))
        for what, recorded, now in told:
            if recorded and recorded != now:
                self._told.setdefault(what, Divergence(turn, 1, f"the {what}", recorded, now))

    # Messages.

    def _messages(self) -> None:
        """Compare the messages that the next request would have."""
        then = [entry.message for entry in self._then.entries[self._same :]]
        now = [entry.message for entry in self._now.entries[self._same :]]
        index = first_difference(then, now)
        if index is None:
            self._same = len(self._then.entries)
            return
        number = self._same + index + (2 if self._agent.system_text else 1)
        both = [_words(side[index]) if index < len(side) else "nothing" for side in (then, now)]
        self._part(f"message {number}{self._whose(then[index:])}", *both)

    def _whose(self, messages: list[Message]) -> str:
        message = messages[0] if messages else None
        call = self._open.get(message.tool_call_id) if isinstance(message, ToolMessage) else None
        return f", the result of {_shown(call.call)}" if call is not None else ""

    def _part(self, what: str, recorded: str, now: str) -> None:
        self._parted = Divergence(self._turn, self._step, what, recorded, now)

    # Calls.

    def _of_call(self, call: _Call, fact: Started | Asked | Decided | Done) -> Fact:
        """What happens instead of *fact*, unless the conversation parts here."""
        if not call.started and not call.asked and call.decided is None:
            self._judge(call)
        match fact:
            case Started():
                call.started = True
                if self._asks(call) and not call.asked and self._asks_approval:
                    self._differs(call, "runs without approval", f"waits for approval: {call.reason}")
            case Asked():
                call.asked = True
                if call.refused is None and not self._asks(call):
                    self._differs(call, f"waits for approval: {fact.reason}", "runs without approval")
            case Decided():
                call.decided = fact
            case Done():
                return self._done(call, fact)
        return fact

    def _judge(self, call: _Call) -> None:
        """What the agent would do with the call."""
        self._calls += 1
        bound = tool_of(self._agent, self._now, call.call.name)
        if bound is None:
            call.refused = unknown_tool(self._agent, call.call)
            return
        if problem := problem_of(call.call.arguments):
            call.refused = unusable_arguments(call.call, problem)
            return
        try:
            bound.tool.parameters.decode(call.call.name, call.call.arguments)
        except ArgumentsError as error:
            call.refused = invalid_arguments(call.call, error)
            return
        call.reason = self._agent.approvals.reason(bound.tool)

    def _asks(self, call: _Call) -> bool:
        """Whether the call needs an approval that no grant gives."""
        made = call.call
        return call.reason is not None and not any(grant.covers(made.name, made.arguments) for grant in self._grants)

    def _done(self, call: _Call, done: Done) -> Done:
        """The call's end as it would be now."""
        refused = call.refused
        if refused is not None:
            again = done.outcome == refused.outcome and (call.started or call.asked)  # as it was taken over
            return done if again else Done(done.call_id, done.tool, refused.outcome, refused.content)
        if done.outcome in ("unknown_tool", "invalid"):
            self._differs(call, done.content, "runs")
            return done
        if done.outcome == "denied" and not call.asked and call.decided is not None:  # by the policy
            if not self._asks(call):
                self._differs(call, done.content, "runs without approval")
                return done
            return self._denied(call, done)
        if call.started and not call.asked and self._asks(call):
            return self._denied(call, done)
        return self._result(call, done) if call.started else done

    def _denied(self, call: _Call, done: Done) -> Done:
        """The call's end where nobody is there to approve it."""
        return Done(done.call_id, done.tool, "denied", unattended(call.call, call.reason or "").content)

    def _result(self, call: _Call, done: Done) -> Done:
        """The recorded result, as long as the agent would show it to a model."""
        whole = done.full if done.full is not None else done.content
        if call.call.name == READ_RESULT or len(whole) >= MOST_CHARS:
            return done
        content, full = shortened(whole, self._agent.limits.result_chars, done.call_id, done.images)
        return Done(
            done.call_id, done.tool, done.outcome, content, done.seconds, done.still_running, full, images=done.images
        )

    def _differs(self, call: _Call, recorded: str, now: str) -> None:
        self._part(f"the call {_shown(call.call)}", recorded, now)


def _shown(call: ToolCall) -> str:
    return detail_of(ToolCalled(call.id, call.name, call.arguments))


def _words(message: Message) -> str:
    """What *message* says: a tool's result as it is, another message as a model is sent it."""
    if isinstance(message, ToolMessage):
        return text_of(message.content)
    return wire_bytes(message).decode("utf-8", "replace")
