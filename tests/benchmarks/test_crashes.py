"""`python -m benchmarks crashes` in short: after some kills, what clients have equals the record; and it can fail."""

from benchmarks.crashes.measure import Outcome, Place, check_record, effects, run
from gaia_core.facts import Began, Ended
from gaia_core.journal import MemoryJournal, NewSession
from gaia_core.messages import Usage
from gaia_core.turn import record_of


async def test_some_kills_lose_and_double_nothing():
    outcome = await run(Place("sqlite", 1), kills=4, seconds=60, seed=1)

    assert outcome.wrong == []
    assert outcome.doubled == 0
    assert outcome.kills >= 1
    assert sum(count for what, count in outcome.counts.items() if what.endswith(": right")) >= 8


async def test_a_record_with_a_turn_that_has_no_end_is_found():
    journal = MemoryJournal()
    await journal.create(NewSession("s", "", "a", "a1:x"))
    lease = await journal.claim("", "s", "r", "turn_1", (record_of(Began("a", "a1:x", "m")),))
    outcome = Outcome(sessions={"s": 1})
    await check_record(journal, outcome)
    assert len(outcome.wrong) == 2

    await journal.append(lease, (record_of(Ended("completed", "", "stop", Usage(), 1)),), done=True)
    outcome = Outcome(sessions={"s": 1})
    await check_record(journal, outcome)
    assert outcome.wrong == []


def test_an_effect_that_was_doubled_is_found(tmp_path):
    (tmp_path / "once").write_text("a\nb\na\n")

    assert effects(tmp_path) == 1
