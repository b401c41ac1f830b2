"""What a client receives of the calls of its own tools while the model still writes them.

The calls are sent one after the other, in the model's order: the next one when the arguments of the one before it are
complete. A call is sent from its name and id on, and its arguments as far as they are certain (`JsonPrefix`). Sent only
at the end of the step, when all is known, are:

- a call without an id, and all that follow it: the pieces of such calls may still turn out to be those of two;
- arguments that are no JSON object as they come (fenced, JSON in a string, free text);
- after a fault of form in the arguments, what follows it;
- the calls behind one of the agent's own: that is carried out first and may wait for an approval, with which a response
  ends; and a client that sends everything back keeps the model's order.

The client never receives anything else than what is recorded: a call that is then refused, dropped, or not the
continuation of what was sent, is a ModelError. The agent's own calls are not sent here.
"""

from collections.abc import Callable

import msgspec

from gaia_core.errors import NestingError
from gaia_core.events import ClientCallDelta, FinishReason
from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall
from gaia_core.models import ModelError
from gaia_core.models._call_assembly import CallAssembly
from gaia_core.models._json_prefix import JsonPrefix, continued
from gaia_core.models._tool_call_repair import offered_name
from gaia_core.nesting import check_nesting
from gaia_core.tools import ToolDefinition


class _StreamedCall:
    """A call that was sent, or its beginning. Written by `StreamedCalls` only."""

    __slots__ = ("arguments", "id", "index", "name", "prefix", "read")

    def __init__(self, index: int, call_id: str, name: str) -> None:
        self.index = index
        """Its number among all calls of the answer."""
        self.id = call_id
        self.name = name
        self.prefix = JsonPrefix(object_only=True)
        self.read = 0
        """How many pieces of its arguments were read."""
        self.arguments: list[str] = []
        """What was sent of them."""


class StreamedCalls:
    """The calls of one answer. *names* are the client's tools, *tools* all that the model was offered; *one_at_a_time*:
    the client takes the first call only. *unique* gives an id that the turn has not had yet."""

    __slots__ = ("_begun", "_names", "_next", "_one_at_a_time", "_tools", "_unique")

    def __init__(
        self,
        names: frozenset[str],
        tools: tuple[ToolDefinition, ...],
        unique: Callable[[str], str],
        *,
        one_at_a_time: bool,
    ) -> None:
        self._names = names
        self._tools = tools
        self._unique = unique
        self._one_at_a_time = one_at_a_time
        self._begun: list[_StreamedCall] = []
        self._next = 0
        """The call that is looked at next; those before it are complete."""

    def __bool__(self) -> bool:
        return bool(self._begun)

    @property
    def so_far(self) -> tuple[ToolCall, ...]:
        """The calls as they were sent."""
        return tuple([ToolCall(sent.id, FunctionCall(sent.name, "".join(sent.arguments))) for sent in self._begun])

    def take(self, calls: CallAssembly) -> list[ClientCallDelta]:
        """What can be sent now of *calls*."""
        found: list[ClientCallDelta] = []
        begun = calls.begun
        while self._next < len(begun):
            call = begun[self._next]
            name = offered_name(call.name, self._tools) or call.name
            if name not in self._names or call.doubtful:
                break
            sent = self._begun[-1] if self._begun and self._begun[-1].index == self._next else None
            if sent is None:
                if not call.id or (self._begun and self._one_at_a_time):
                    break
                sent = _StreamedCall(self._next, self._unique(call.id), name)
                self._begun.append(sent)
                found.append(ClientCallDelta(sent.id, name, ""))
            if text := sent.prefix.feed("".join(call.pieces[sent.read :])):
                sent.arguments.append(text)
                found.append(ClientCallDelta(sent.id, name, text))
            sent.read = len(call.pieces)
            if not sent.prefix.closed:
                break
            self._next += 1
        return _merged(found)

    def named(self, calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
        """*calls*, all those of the answer, with the ids that were sent."""
        ids = {sent.index: sent.id for sent in self._begun}
        return tuple([ToolCall(ids.get(index, call.id), call.function) for index, call in enumerate(calls)])

    def checked(self, message: AssistantMessage, reason: FinishReason) -> AssistantMessage:
        """*message*, the whole answer, with arguments that continue what was sent. Raises ModelError where that can't
        be."""
        if not self._begun:
            return message
        meant = {call.id: call for call in message.tool_calls}
        written: dict[str, ToolCall] = {}
        for sent in self._begun:
            call = meant.get(sent.id)
            if call is None:
                raise _incomplete(sent, _END_OF_TOKENS if reason == "length" else "it was not whole")
            so_far = "".join(sent.arguments)
            arguments = continued(so_far, call.arguments)
            if arguments is None:
                raise _incomplete(sent, "its arguments are not JSON")
            if not arguments[len(so_far) :].strip():
                arguments = so_far  # without white space at its end: the next call may have begun already
            try:
                check_nesting(arguments)
            except NestingError as error:
                raise _incomplete(sent, f"its arguments are {error}") from None
            written[sent.id] = ToolCall(sent.id, FunctionCall(call.name, arguments))
        calls = tuple([written.get(call.id, call) for call in message.tool_calls])
        return message if calls == message.tool_calls else msgspec.structs.replace(message, tool_calls=calls)


_END_OF_TOKENS = "the answer reached its limit of tokens in the middle of it; allow more"


def _incomplete(sent: _StreamedCall, why: str) -> ModelError:
    words = f"the model's call of {sent.name} is incomplete and must not be run: {why}"
    return ModelError("incomplete_call", words, retryable=why is not _END_OF_TOKENS)


def _merged(deltas: list[ClientCallDelta]) -> list[ClientCallDelta]:
    """*deltas*, with the beginning of a call in one piece with its first arguments."""
    merged: list[ClientCallDelta] = []
    for delta in deltas:
        if merged and merged[-1].call_id == delta.call_id:
            delta = ClientCallDelta(delta.call_id, delta.tool, merged.pop().arguments + delta.arguments)  # noqa: PLW2901
        merged.append(delta)
    return merged
