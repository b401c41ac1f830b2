"""Context: which messages of a conversation a model is sent, and in what form."""

import msgspec

from gaia_core.agent import Agent
from gaia_core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
    text_of,
)

CHARS_PER_TOKEN = 4
"""For estimates only, which are named so: English text has about four characters a token."""

INTERRUPTED = "The call was interrupted; whether it had an effect is unknown."


def messages_for(agent: Agent, conversation: tuple[Message, ...]) -> tuple[Message, ...]:
    """What the model is sent: the agent's words first, then as much of *conversation* as its policy allows.

    A client's leading system messages are joined to the agent's, because many chat templates take one system message
    only, and only as the first.
    """
    leading = 0
    while leading < len(conversation) and isinstance(conversation[leading], SystemMessage | DeveloperMessage):
        leading += 1
    texts = [agent.system_text, *(text_of(message.content) for message in conversation[:leading])]
    system = "\n\n".join(text for text in texts if text)
    rest = _answered(conversation[leading:])
    if agent.context.tokens is not None:
        rest = _newest(rest, agent.context.tokens - len(system) // CHARS_PER_TOKEN)
    return (SystemMessage(system), *rest) if system else rest


def _answered(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """*messages*, each call with a result: an interrupted turn leaves some without, which endpoints refuse."""
    if not any(isinstance(message, AssistantMessage) and message.tool_calls for message in messages):
        return messages
    complete: list[Message] = []
    for index, message in enumerate(messages):
        complete.append(message)
        if isinstance(message, AssistantMessage) and message.tool_calls:
            results = _results_after(messages, index)
            missing = (call.id for call in message.tool_calls if call.id not in results)
            complete += (ToolMessage(INTERRUPTED, call_id) for call_id in missing)
    return tuple(complete)


def _results_after(messages: tuple[Message, ...], index: int) -> frozenset[str]:
    found = []
    for message in messages[index + 1 :]:
        if not isinstance(message, ToolMessage):
            break
        found.append(message.tool_call_id)
    return frozenset(found)


def _newest(messages: tuple[Message, ...], tokens: int) -> tuple[Message, ...]:
    """The newest exchanges that fit, each from a user's message on; the last one always."""
    left = tokens
    first = last = next((i for i in reversed(range(len(messages))) if isinstance(messages[i], UserMessage)), 0)
    for index in reversed(range(len(messages))):
        left -= estimated_tokens(messages[index])
        if left < 0:
            break
        if index < last and isinstance(messages[index], UserMessage):
            first = index
    return messages[first:]


def estimated_tokens(message: Message) -> int:
    """An estimate, from the length of the encoded message."""
    return len(msgspec.json.encode(message)) // CHARS_PER_TOKEN
