"""The questions' answer keys: what counts as right, wrong and invented."""

import pytest

from benchmarks.questions import first, second
from benchmarks.questions.key import NO, Question, has

PORT = Question("What port is set in config.ini?", "read", (("8137",),))
KNOWN = ("config.ini", "port = 8137\npaper = A5")


def test_the_sets_are_of_the_size_that_they_were_frozen_with():
    assert (len(first.QUESTIONS), len(second.QUESTIONS)) == (30, 15)


@pytest.mark.parametrize(
    ("answer", "calls", "verdict"),
    [
        ("The port is 8137.", 1, "right"),
        ("It is set there.", 1, "wrong"),
        ("It is 80.", 1, "invented"),
        ("It is set there.", 0, "invented"),
        ("I don't know.", 0, "wrong"),
        ('It says "port 81".', 1, "invented"),
        ('It says "paper = A5".', 1, "wrong"),
    ],
)
def test_an_answer_is_judged_by_its_key_and_by_what_it_can_be_from(answer, calls, verdict):
    assert PORT.judge(answer, calls, KNOWN) == verdict


def test_what_an_answer_must_not_say_makes_it_wrong():
    question = Question("Is there a setup.py?", "missing", (NO,), ("yes",))
    assert question.judge("No, there is none.", 1, ()) == "right"
    assert question.judge("Yes, not far away.", 1, ()) == "wrong"


@pytest.mark.parametrize(
    ("answer", "word", "found"),
    [("3 files.", "3", True), ("3.4.1", "3", False), ("1.3", "3", False), ("13", "3", False), ("not", "no", False)],
)
def test_a_word_is_a_whole_one(answer, word, found):
    assert has(answer, word) is found
