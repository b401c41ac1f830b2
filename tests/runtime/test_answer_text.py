"""The text of an answer: its steps' texts are paragraphs, and what was told is not told again."""

import pytest

from gaia_core.events import StepEnded, ToolStarted, TurnEnded
from gaia_core.messages import AssistantMessage, Usage
from gaia_core.runtime import AnswerText, rest_of


def step(number: int, text: str, objection: str = "") -> StepEnded:
    return StepEnded(number, AssistantMessage(text), "stop", Usage(), objection=objection)


def test_the_texts_of_steps_are_paragraphs_and_the_one_that_was_cut_is_the_last():
    answer = AnswerText()
    answer.take(step(1, "One."))
    answer.take(step(2, "wrong", objection="Answer again."))
    answer.take(step(3, "Two."))

    assert answer.content(TurnEnded("completed", "Two.", "stop", Usage(), 3)) == "One.\n\nTwo."
    assert answer.content(TurnEnded("cancelled", "Thr", "stop", Usage(), 4)) == "One.\n\nTwo.\n\nThr"


def test_what_was_told_live_and_what_is_left_when_a_step_ends_are_the_answer():
    answer = AnswerText()
    told = answer.tell("On") + answer.tell("e") + answer.untold("One.")
    answer.take(step(1, "One."))
    answer.begin_step()
    told += answer.tell("Tw")
    answer.begin_step()  # the reader has dropped that, and is told the step from its beginning
    told = told.removesuffix("\n\nTw") + answer.untold("Two.")
    answer.take(step(2, "Two."))

    assert told == answer.content(TurnEnded("completed", "Two.", "stop", Usage(), 2)) == "One.\n\nTwo."
    assert answer.untold("") == ""


@pytest.mark.parametrize(
    ("text", "told", "rest"), [("One.", "On", "e."), ("One.", "One.", ""), ("One.", "", "One."), ("One.", "Two", "")]
)
def test_a_text_that_goes_on_differently_is_not_told(text, told, rest):
    assert rest_of(text, told) == rest


def test_a_turn_whose_tool_was_started_may_have_had_effects():
    answer = AnswerText()
    assert not answer.tools_ran
    answer.take(ToolStarted("c1"))
    assert answer.tools_ran
