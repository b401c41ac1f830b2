"""`python -m benchmarks soak` can fail: on a log line that is missing or too many, and on a refusal at a wrong time."""

import pytest

from benchmarks.soak.clients import RefusedError
from benchmarks.soak.faults import FaultWindow
from benchmarks.soak.measure import outcome_of
from benchmarks.soak.server_log import problems

BEGINS = "ERROR:gaia_core.journal._journal_health:the journal can't be written (it is full): see to its disk"
ENDS = "WARNING:gaia_core.journal._journal_health:the journal can be written again, after 3.0 s"
ENDPOINT = "WARNING:gaia_core.models.endpoint._failover:the endpoint failed"


def test_one_line_when_a_fault_begins_and_one_when_it_is_over_are_right():
    assert problems(f"{ENDPOINT}\n{BEGINS}\n{ENDPOINT}\n{ENDS}\n{BEGINS}\n{ENDS}", 2) == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((BEGINS,), "0 lines that say: the journal can be written again"),
        ((BEGINS, BEGINS, ENDS), "a line too many: ERROR"),
        ((BEGINS, ENDS, BEGINS, ENDS), "1 faults, and 2 lines"),
        ((BEGINS, "WARNING:gaia_core.runtime:session s got no title", ENDS), "a line too many: WARNING"),
        ((BEGINS, "Traceback (most recent call last):", ENDS), "not a log line"),
        ((), "1 faults, and 0 lines"),
    ],
)
def test_another_log_is_wrong(lines, words):
    assert any(words in each for each in problems("\n".join(lines), 1))


async def refused() -> str:
    raise RefusedError("refused: 503, Retry-After")


async def test_a_refusal_is_right_only_for_a_request_during_which_the_journal_failed():
    window = FaultWindow()
    before, window.count, window.active = window.mark(), 1, True
    during = window.mark()
    window.active = False
    after = window.mark()

    assert [window.overlaps(mark) for mark in (before, during, after)] == [True, True, False]
    assert await outcome_of(refused(), during=lambda: window.overlaps(during)) == ("refused: 503, Retry-After", "")
    _, wrong = await outcome_of(refused(), during=lambda: window.overlaps(after))
    assert wrong == "refused: 503, Retry-After, while the journal does not fail"
