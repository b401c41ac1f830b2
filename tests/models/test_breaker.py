"""The circuit breaker: open after failures in a row, one trial when its back-off is over, and no leave ever lost."""

from hypothesis import given
from hypothesis import strategies as st

from gaia_core.models.endpoint._circuit_breaker import Breaker


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(breaker: Breaker) -> None:
    admission = breaker.admit()
    assert admission is not None
    breaker.failed(admission)
    breaker.untold(admission)


def answer(breaker: Breaker) -> None:
    admission = breaker.admit()
    assert admission is not None
    breaker.answers(admission)
    breaker.answered(admission)
    breaker.untold(admission)


def opened(clock: Clock, failures: int = 3) -> Breaker:
    breaker = Breaker(failures, backoff=1.0, longest=5.0, clock=clock)
    for _ in range(failures):
        fail(breaker)
    return breaker


def test_fewer_failures_than_its_limit_leave_it_closed():
    breaker = Breaker(3, clock=Clock())
    fail(breaker)
    fail(breaker)

    assert (breaker.state, breaker.failures, breaker.retry_after) == ("closed", 2, 0)


def test_failures_count_only_in_a_row():
    breaker = Breaker(3, clock=Clock())
    for _ in range(5):
        fail(breaker)
        fail(breaker)
        answer(breaker)

    assert (breaker.state, breaker.failures) == ("closed", 0)


def test_open_it_admits_nobody_until_its_back_off_is_over():
    clock = Clock()
    breaker = opened(clock)

    assert (breaker.state, breaker.retry_after, breaker.admit()) == ("open", 1.0, None)
    clock.now += 0.9
    assert breaker.admit() is None
    clock.now += 0.2
    assert breaker.state == "half_open"
    assert breaker.admit() is not None


def test_half_open_it_admits_one():
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1

    assert breaker.admit().trial
    assert breaker.admit() is None
    assert breaker.retry_after == 1.0


def test_a_trial_that_is_answered_closes_it_before_the_answer_ends():
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1
    trial = breaker.admit()

    breaker.answers(trial)

    assert breaker.state == "closed"
    assert not breaker.admit().trial


def test_a_trial_that_breaks_off_in_the_middle_opens_it_again():
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1
    trial = breaker.admit()

    breaker.answers(trial)
    breaker.failed(trial)

    assert breaker.state == "open"


def test_each_failed_trial_doubles_the_back_off_up_to_the_longest():
    clock = Clock()
    breaker = opened(clock)
    waits = []
    for _ in range(5):
        waits.append(breaker.retry_after)
        clock.now += breaker.retry_after
        fail(breaker)

    assert waits == [1, 2, 4, 5, 5]


def test_after_a_whole_answer_the_back_off_begins_anew():
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1
    fail(breaker)
    clock.now += 2
    answer(breaker)
    for _ in range(3):
        fail(breaker)

    assert breaker.retry_after == 1


def test_a_trial_that_was_cancelled_is_free_for_another():
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1
    breaker.untold(breaker.admit())

    assert breaker.state == "half_open"
    assert breaker.admit().trial


def test_requests_that_fail_together_count_as_one_failure():
    breaker = Breaker(3, clock=Clock())
    together = [breaker.admit() for _ in range(50)]
    for admission in together:
        breaker.failed(admission)

    assert (breaker.state, breaker.failures) == ("closed", 1)


def test_an_answer_that_began_before_it_failed_does_not_close_it():
    """A server that stops ends the answers that it has begun, and takes no others."""
    clock = Clock()
    breaker = Breaker(3, clock=clock)
    old = breaker.admit()
    for _ in range(3):
        fail(breaker)

    breaker.answers(old)
    breaker.answered(old)

    assert (breaker.state, breaker.failures) == ("open", 3)


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "answers", "answered", "failed", "gone", "wait"]), st.integers(0, 9)))
)
def test_whatever_happens_it_admits_again_after_a_while_and_one_trial_at_most(steps):
    clock = Clock()
    breaker = Breaker(2, backoff=1.0, longest=8.0, clock=clock)
    asked = []
    for step, number in steps:
        if step == "ask" and (admission := breaker.admit()) is not None:
            asked.append(admission)
        elif step == "wait":
            clock.now += number / 2
        elif asked and step not in ("ask", "wait"):
            admission = asked[number % len(asked)]
            if step == "answers":
                breaker.answers(admission)
                continue
            asked.remove(admission)
            if step == "answered":
                breaker.answers(admission)
                breaker.answered(admission)
            if step == "failed":
                breaker.failed(admission)
            breaker.untold(admission)
        assert breaker.state == "closed" or breaker.failures > 0
        assert breaker.retry_after <= 8.0

    for admission in asked:
        breaker.untold(admission)
    clock.now += 8.0
    assert breaker.admit() is not None
