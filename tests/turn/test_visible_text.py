"""What a person approves is shown with all that can't be seen written out."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core.visible_text import visible, visible_json, visible_value

HIDDEN = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad",  # of no width
    "\u202a\u202e\u2066\u2069\u200e\u061c",  # directions
    "\U000e0001\U000e0041\U000e007f",  # tags
    "\ufe0f\U000e0100\u034f\u3164\u115f\u2800",  # selectors and fillers
    "\r\x1b\x07\x7f\x9b\x00",
    "\u2028\u2029\u0085\u00a0",
    "\ud800",
)


@pytest.mark.parametrize("char", [char for some in HIDDEN for char in some])
def test_what_can_not_be_seen_is_written_out(char):
    shown = visible(f"a{char}b")

    assert shown.isprintable()
    assert shown.startswith("a\\u")
    assert json.loads(f'"{shown}"') == f"a{char}b"


def test_words_stay_as_they_are():
    for text in ("plain", "two\nlines\tand tabs", "Grüße 日本語 العربية 😀", '"quoted" \\ back'):
        assert visible(text) == text


@given(st.text())
def test_all_that_is_left_is_seen_and_showing_it_again_changes_nothing(text):
    shown = visible(text)

    assert visible(shown) == shown
    assert all(unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or char in "\n\t" for char in shown)


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.lists(st.text()))), st.booleans())
def test_a_json_text_means_the_same(value, escaped):
    shown = visible_json(json.dumps(value, ensure_ascii=escaped, indent="\r\n"))

    assert json.loads(shown) == value
    assert "\r" not in shown


def test_keys_and_items_of_a_value_are_shown_too():
    value = {"a\u200b": ["\r", {"b": "\u202e"}], "n": 1, "none": None}

    assert visible_value(value) == {"a\\u200b": ["\\u000d", {"b": "\\u202e"}], "n": 1, "none": None}
    assert value == {"a\u200b": ["\r", {"b": "\u202e"}], "n": 1, "none": None}
