"""The calls of an answer that the client runs: which they are, and whether it can."""

from collections.abc import Sequence

import msgspec

from gaia_core.messages import AssistantMessage, ToolCall, is_json_object
from gaia_core.models import ModelError, problem_of
from gaia_core.turn.calls._tool_calls import nested_too_deep


def client_calls(message: AssistantMessage, names: frozenset[str]) -> list[ToolCall]:
    """The calls of *message* that the client runs: its tools have these *names*. A call whose arguments are nested too
    deep is refused by the turn instead, because the client could not send it back."""
    return [call for call in message.tool_calls if call.name in names and nested_too_deep(call) is None]


def check_whole(calls: Sequence[ToolCall]) -> None:
    """Raise ModelError for one of the client's *calls* that is not whole: it must not run it with anything else.

    Free text is the client's to judge: models write it for custom tools.
    """
    for call in calls:
        why = problem_of(call.arguments)
        if not why and call.arguments.lstrip()[:1] in ("{", "[") and not is_json_object(call.arguments):
            why = "they are no JSON object"
        if why:
            words = f"the model called {call.name} with arguments that can't be used: {why}; ask again"
            raise ModelError("incomplete_call", words, retryable=True)


def one_at_a_time(message: AssistantMessage, names: frozenset[str]) -> AssistantMessage:
    """*message* without the client's calls after the first, for a client that takes one at a time, where the model
    didn't keep to it: it may make the others when it has the result."""
    theirs = [call for call in message.tool_calls if call.name in names]
    if len(theirs) < 2:
        return message
    kept = tuple(call for call in message.tool_calls if call not in theirs[1:])
    return msgspec.structs.replace(message, tool_calls=kept)
