"""Text is cut by its own words: however it comes, the deltas are the same, and nothing of it is lost."""

from hypothesis import given
from hypothesis import strategies as st

from gaia_http.openai.responses.output._chunked import Chunked

TEXTS = st.lists(st.text(alphabet="ab é東\n\t ", max_size=90), max_size=8)


def chunks(pieces: list[str]) -> list[str]:
    chunked = Chunked()
    return [*(chunk for piece in pieces for chunk in chunked.feed(piece)), *chunked.rest()]


@given(TEXTS)
def test_the_deltas_do_not_depend_on_how_the_text_came(pieces):
    whole = "".join(pieces)

    assert chunks(pieces) == chunks([whole]) == chunks(list(whole))
    assert "".join(chunks(pieces)) == whole


@given(st.integers(1, 500))
def test_what_has_no_end_is_cut_all_the_same(length):
    for text in ("x" * length, " " * length, "東" * length):
        assert max(map(len, chunks(list(text)))) <= 64
