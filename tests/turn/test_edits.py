"""Edits of a transcript: what is not shown to a model any more, and what stands there instead."""

from gaia_core.facts import Answered, Began, Compacted, Edit, Ended, decode_fact, encode_fact
from gaia_core.messages import AssistantMessage, FunctionCall, ToolCall, Usage, UserMessage
from gaia_core.turn import Transcript

CALL = ToolCall("c1", FunctionCall("look", "{}"))
ENDED = Ended("completed", "", "stop", Usage(), 1)


def began(*said: str, edits: tuple[Edit, ...] = ()) -> Began:
    return Began("a", "f", "m", input=tuple(map(UserMessage, said)), edits=edits)


def transcript_of(*facts: object) -> Transcript:
    transcript = Transcript()
    for seq, fact in enumerate(facts, 1):
        transcript.apply(seq, decode_fact(encode_fact(fact)))
    return transcript


def texts(transcript: Transcript) -> list[object]:
    return [entry.message.content for entry in transcript.entries]


def edit_of(transcript: Transcript, index: int, message: object = None, nth: int = 0) -> Edit:
    entry = transcript.entries[index]
    return Edit(entry.seq, entry.digest, nth, message)


def test_a_message_goes_or_is_changed_when_the_next_turn_begins():
    before = (began("one", "two", "three"), ENDED)
    there = transcript_of(*before)
    edits = (edit_of(there, 0), edit_of(there, 2, UserMessage("3")))

    assert texts(transcript_of(*before, began("four", edits=edits))) == ["two", "3", "four"]
    assert texts(there.edited(edits)) == ["two", "3"]
    assert texts(there) == ["one", "two", "three"]


def test_only_the_new_messages_are_told_as_added():
    there = transcript_of(began("one", "two"), ENDED)

    assert there.apply(3, began("three", edits=(edit_of(there, 0), edit_of(there, 1)))) == (UserMessage("three"),)


def test_of_equal_messages_the_one_that_is_meant_goes():
    there = transcript_of(began("same", "other", "same"), ENDED)

    assert texts(there.edited((edit_of(there, 2, nth=1),))) == ["same", "other"]


def test_a_call_that_is_gone_is_not_waited_for():
    answered = Answered(1, AssistantMessage(None, (CALL,)), "tool_calls", Usage(), client_calls=("c1",))
    there = transcript_of(began("look"), answered, ENDED)

    assert there.client_calls == (CALL,)
    assert there.edited((edit_of(there, 1),)).client_calls == ()


def test_what_a_summary_has_taken_in_is_not_edited():
    there = transcript_of(began("one"), ENDED)
    edits = (edit_of(there, 0),)
    later = transcript_of(began("one"), ENDED, began("two"), Compacted("they said one", 3, Usage(), 5), ENDED)

    assert texts(later.edited(edits)) == texts(later)
