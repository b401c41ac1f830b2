"""A thought in tags at the beginning of a text is reasoning, wherever the stream is cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core.events import ReasoningDelta, TextDelta
from gaia_core.models import Finished, ToolCallDelta
from gaia_core.models.endpoint._response_reader import ResponseReader
from gaia_core.models.endpoint._think_tags import ThinkTags

CALL = ToolCallDelta(0, "c", "f", "{}")


def split(*deltas) -> tuple[str, str, list]:
    tags = ThinkTags()
    told = [told for delta in (*deltas, Finished("stop")) for told in tags.take((delta,))]
    thought = "".join(delta.text for delta in told if type(delta) is ReasoningDelta)
    text = "".join(delta.text for delta in told if type(delta) is TextDelta)
    return thought, text, [delta for delta in told if type(delta) not in (TextDelta, ReasoningDelta)]


TEXTS = [
    ("Hello", "", "Hello"),
    ("<think>Hm.</think>Hello", "Hm.", "Hello"),
    ('\n<think>\nHm.\n</think>\n\n{"a": 1}', "\nHm.\n", '{"a": 1}'),
    ("<think>\n\n</think>\n\nHello", "\n\n", "Hello"),
    ("<think></think>Hello", "", "Hello"),
    ("<think>It never ends", "It never ends", ""),
    ("<think>Half a tag: </thi", "Half a tag: </thi", ""),
    ("<think>a < b </ c</think>x", "a < b </ c", "x"),
    ("The tag <think>x</think> is Qwen's", "", "The tag <think>x</think> is Qwen's"),
    ("<thinking>x</thinking>", "", "<thinking>x</thinking>"),
    ("<thi", "", "<thi"),
    ("  \n", "", "  \n"),
    ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
    ("", "", ""),
]


@pytest.mark.parametrize(("sent", "thought", "text"), TEXTS)
def test_a_thought_is_told_from_the_text(sent, thought, text):
    assert split(TextDelta(sent))[:2] == (thought, text)
    assert split(*map(TextDelta, sent))[:2] == (thought, text)


@given(st.sampled_from(TEXTS), st.data())
def test_it_may_be_cut_anywhere(sample, data):
    sent, thought, text = sample
    cuts = sorted(data.draw(st.sets(st.integers(0, len(sent)))))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]

    assert split(*map(TextDelta, pieces))[:2] == (thought, text)


def test_a_call_or_reasoning_of_its_own_ends_the_search():
    assert split(TextDelta("<think>Hm</think>"), CALL) == ("Hm", "", [CALL, Finished("stop")])
    assert split(TextDelta("<th"), CALL) == ("", "<th", [CALL, Finished("stop")])
    assert split(ReasoningDelta("Hm"), TextDelta("<think>x</think>"))[:2] == ("Hm", "<think>x</think>")


@pytest.mark.parametrize("before", ["", "<think>", "<think>x</think>"])
@pytest.mark.parametrize("piece", ["\n", "</thin", "<", "word"])
def test_what_is_looked_at_again_is_shorter_than_a_tag(before, piece):
    tags = ThinkTags()
    tags.take((TextDelta(before),))
    for _ in range(1_000):
        tags.take((TextDelta(piece),))
        assert len(tags._held) < len("</think>")


def told(reader: ResponseReader, *pieces: bytes) -> list:
    return [delta for piece in pieces for delta in reader.feed(piece)] + list(reader.end())


def body(text: str, form: str) -> bytes:
    return json.dumps({"choices": [{"index": 0, form: {"content": text}, "finish_reason": "stop"}]}).encode()


def test_a_thought_is_told_from_an_answer_that_comes_at_once():
    said = ResponseReader(secret="").all_at_once(body("<think>Hm.</think>Hello", "message"))
    assert said[:-1] == (ReasoningDelta("Hm."), TextDelta("Hello"))


def test_what_began_like_a_tag_is_told_at_the_end():
    said = told(ResponseReader(secret=""), b"data: " + body("<thi", "delta") + b"\n\n")
    assert said[:-1] == [TextDelta("<thi")]
