"""What exceeds the window is shortened: it fits, it can be read on, and what was sent stays as it was."""

import json
import re
from itertools import pairwise

from gaia_core import Agent, Catalog, ModelSpec, Runtime, ScriptedModel, Toolset, call, scripted, tool
from gaia_core.events import ContextCompacted, ToolEnded
from gaia_core.facts import Answered
from gaia_core.messages import (
    AssistantMessage,
    FunctionCall,
    Message,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    text_of,
)
from gaia_core.turn.context._compaction import SUMMARIZE, summary_parts
from gaia_core.turn.context._context_budget import ContextBudget
from gaia_core.turn.context._context_window import messages_for, result_chars
from gaia_core.turn.context._shortened_messages import together_within
from gaia_core.turn.context._transcript import Transcript, entry_of

AGENT = Agent("a")
BUDGET = ContextBudget(2_000)


def numbered(calls: int) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(f"c{number}", FunctionCall("read", "{}")) for number in range(calls))


def exchange(results: int, chars: int) -> tuple[Message, ...]:
    """A user's message, and calls one after the other, whose results have so many *chars* each."""
    calls = numbered(results)
    return (
        UserMessage("Read."),
        *(
            message
            for number, each in enumerate(calls)
            for message in (AssistantMessage(None, (each,)), ToolMessage(f"{number}:".ljust(chars, "x"), each.id))
        ),
    )


def test_the_rest_of_a_shortened_message_is_kept_under_the_name_that_it_is_told_by():
    text = "".join(f"{number} " for number in range(5_000))
    transcript = Transcript((UserMessage(text),))
    (shown,), _ = messages_for(AGENT, transcript, BUDGET)

    found = re.search(r'call_id="(\w+)", offset=(\d+)', shown.content)
    assert found is not None
    assert transcript.full[found[1]] == text
    assert shown.content.startswith(text[: int(found[2])] + "\n…")


def test_a_result_that_was_left_out_can_be_read_again():
    transcript = Transcript(exchange(12, 1_000))
    messages, _ = messages_for(AGENT, transcript, BUDGET)

    left_out = [message for message in messages if isinstance(message, ToolMessage) and "left out" in message.content]
    assert left_out
    for message in left_out:
        assert f'call_id="{message.tool_call_id}"' in message.content
        assert len(transcript.full[message.tool_call_id]) == 1_000


def test_from_step_to_step_the_same_results_are_left_out_until_room_is_made_for_several():
    entries = [entry_of(message) for message in exchange(20, 1_000)]
    sent = [
        [entry.encoded for entry in together_within(Transcript(), entries[: 1 + 2 * steps], 10_000)]
        for steps in range(1, 21)
    ]

    changed = [after[: len(before)] != before for before, after in pairwise(sent)]
    assert 0 < sum(changed) <= len(changed) / 3


def test_calls_that_run_together_share_the_room():
    def room(calls: int) -> int:
        transcript = Transcript((UserMessage("Read."),))
        transcript.apply(1, Answered(1, AssistantMessage(None, numbered(calls)), "tool_calls", Usage()))
        return result_chars(AGENT, transcript, ContextBudget(10_000))

    assert 4 * room(4) <= room(1)


async def test_a_result_is_measured_as_it_is_sent_with_its_escapes():
    @tool(effects="read")
    async def read() -> str:
        """Read."""
        return '"' * 50_000

    agent = Agent("a", tools=Toolset("t", (read,)))
    model = scripted(call("read"), "Done.")
    catalog = Catalog.of(agent, models={"local": ModelSpec("local", open=lambda: model, window=6_000)})
    async with Runtime(catalog) as runtime:
        turn = await runtime.start(await runtime.open("a"), "Read.")
        (ended,) = [event async for event in turn.events() if isinstance(event, ToolEnded)]

    assert 4_000 < len(json.dumps(ended.content)) < 6_000 * 4 * 0.4


def test_a_summary_of_very_much_leaves_out_its_middle():
    entries = [entry_of(UserMessage(f"Note {number}. ".ljust(1_000, "x"))) for number in range(100)]
    parts = summary_parts(AGENT, entries, 4_000, 8)

    assert len(parts) == 8
    assert parts[0].startswith("User: Note 0.")
    assert "Note 99." in parts[-1]
    assert [number for number, part in enumerate(parts) if part.startswith("(… about")] == [4]


def test_a_long_message_is_summed_up_by_its_beginning_and_its_end():
    entries = [entry_of(UserMessage(f"begin {'x' * 20_000} end"))]
    (part,) = summary_parts(AGENT, entries, 4_000, 8)

    assert len(part) < 2_000
    assert part.startswith("User: begin xxx")
    assert part.endswith("xxx end")


async def test_a_summary_takes_a_fifth_of_the_window_at_most():
    model = ScriptedModel(lambda request: "x " * 9_000 if SUMMARIZE in text_of(request.messages[0].content) else "Ok")
    catalog = Catalog.of(AGENT, models={"local": ModelSpec("local", open=lambda: model, window=2_000)})
    async with Runtime(catalog) as runtime:
        session = await runtime.open("a")
        compacted = []
        for number in range(8):
            turn = await runtime.start(session, f"Note {number}. {'x ' * 700}")
            compacted += [event async for event in turn.events() if isinstance(event, ContextCompacted)]

    assert compacted
    assert all(len(event.summary) <= 2_000 * 4 / 5 for event in compacted)
