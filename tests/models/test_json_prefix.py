"""What of a JSON text is certain before its end is known."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core.messages import is_json_object
from gaia_core.models._json_prefix import JsonPrefix, continued
from gaia_core.nesting import MAX_NESTING

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
objects = st.dictionaries(st.text(), values)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[begin:end] for begin, end in itertools.pairwise(places)]


@given(objects, st.booleans(), st.sampled_from([None, 0, 2]), st.lists(st.integers(0, 10_000)))
def test_all_of_an_object_is_certain_however_it_is_cut(value, ascii_only, indent, cuts):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    prefix = JsonPrefix(object_only=True)

    told = [prefix.feed(piece) for piece in pieces_of(text, cuts)]

    assert ("".join(told), prefix.closed, prefix.wrong) == (text, True, False)


@given(st.text(alphabet="{}[]\":,\\u0a1e-. \ntrue'") | objects.map(json.dumps), st.lists(st.integers(0, 10_000)))
def test_what_is_certain_does_not_depend_on_the_cuts_and_begins_a_value(text, cuts):
    whole, cut = JsonPrefix(), JsonPrefix()

    told = whole.feed(text)

    assert "".join(cut.feed(piece) for piece in pieces_of(text, cuts)) == told
    assert text.startswith(told)
    if whole.closed:
        json.loads(told)


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        ('{"a": 1,}', '{"a": 1'),
        ('{"a": 12', '{"a":'),
        ('{"a": None}', '{"a":'),
        ("{'a': 1}", "{"),
        ('{"a": "x\\u00', '{"a": "x'),
        ('{"a": "x\\q"}', '{"a": "x'),
        ('{"a": "x\\ud83d\\ude00', '{"a": "x\\ud83d\\ude00'),
        ('{"a": "x\\ud83d\\ude', '{"a": "x'),
        ('{"a": "x\\ud83d\\u0041"}', '{"a": "x'),
        ('{"a": "x\\ude00"}', '{"a": "x'),
        ('{"a": "x\ny"}', '{"a": "x'),
        ('{"a": [1, 2,', '{"a": [1, 2'),
        ('{"a": 01}', '{"a":'),
        ('{"a": 1}}', '{"a": 1}'),
        ('  {"a"', '  {"a"'),
        ('["a"]', ""),
        ('"{}"', ""),
        ("```json\n{}", ""),
        ("{]", "{"),
        ('{"a"]', '{"a"'),
    ],
)
def test_from_the_first_fault_on_nothing_is_certain(text, certain):
    prefix = JsonPrefix(object_only=True)

    assert "".join(map(prefix.feed, text)) == certain
    if prefix.wrong or prefix.closed:
        assert prefix.feed('"more": 1}') == ""


def test_a_value_that_is_nested_too_deep_is_not_certain():
    prefix = JsonPrefix()

    assert prefix.feed("[" * (MAX_NESTING + 5)) == "[" * MAX_NESTING
    assert prefix.wrong


def test_no_more_is_held_back_than_a_bound():
    prefix = JsonPrefix()

    assert prefix.feed('{"a":') == '{"a":'
    assert [prefix.feed(" " * 600), prefix.feed(" " * 600), prefix.feed("1}")] == ["", "", ""]
    assert prefix.wrong


@pytest.mark.parametrize(
    ("streamed", "meant", "written"),
    [
        ('{"a": 1', '{"a":1,"b":2}', '{"a": 1,"b":2}'),
        ('{ "a": "x y', '{"a":"x y z"}', '{ "a": "x y z"}'),
        (' {"a": 1}', '{"a": 1}', ' {"a": 1}'),
        ("", '{"a":1}', '{"a":1}'),
        ('{"a": 1', '{"b":1}', None),
    ],
)
def test_what_was_meant_is_written_behind_what_was_streamed(streamed, meant, written):
    assert continued(streamed, meant) == written
    assert written is None or is_json_object(written)
