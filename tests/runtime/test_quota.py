"""The quota: asked before any turn begins, told when it has ended, however it began and ended."""

import pytest

from gaia_core import Agent, BusyError, Catalog, LimitError, ModelSpec, Runtime, ScriptedModel, scripted
from gaia_core.messages import UserMessage
from gaia_core.runtime._quota import NoQuota
from gaia_core.turn import TurnRequest

AGENT = Agent("a")
SAID = (UserMessage("Hi"),)


class Counting(NoQuota):
    """Counts, and refuses when it is told to."""

    def __init__(self) -> None:
        self.running: dict[str, int] = {}
        self.tokens: dict[str, int] = {}
        self.refuses = False

    def begin(self, owner: str, *, resumed: bool = False) -> None:
        if self.refuses and not resumed:
            raise LimitError("enough", 3.0)
        self.running[owner] = self.running.get(owner, 0) + 1

    def ended(self, owner: str, usage) -> None:
        self.running[owner] -= 1
        self.tokens[owner] = self.tokens.get(owner, 0) + usage.total_tokens


@pytest.fixture
def quota() -> Counting:
    return Counting()


def made(model, quota) -> Runtime:
    return Runtime(Catalog.of(AGENT, models={"local": ModelSpec("local", open=lambda: model)}), quota=quota)


async def test_every_way_to_begin_a_turn_is_counted(quota):
    async with made(scripted(*["Hello"] * 3), quota) as runtime:
        session = await runtime.open(AGENT, owner="o")
        turns = [
            await runtime.once(AGENT, TurnRequest(transcript=SAID), key="o"),
            await runtime.start(session, "Hi"),
        ]
        assert quota.running == {"o": 2}
        for turn in turns:
            await turn.result()
        transient = await runtime.start(session, TurnRequest(transcript=SAID))
        ended = [await turn.result() for turn in (*turns, transient)]
        used = sum(each.usage.total_tokens for each in ended)

    assert quota.running == {"o": 0}
    assert used > 0
    assert quota.tokens == {"o": used}


async def test_a_refused_turn_leaves_its_session_free(quota):
    async with made(scripted("Hello"), quota) as runtime:
        session = await runtime.open(AGENT, owner="o")
        quota.refuses = True
        for begin in (
            lambda: runtime.start(session, "Hi"),
            lambda: runtime.start(session, TurnRequest(transcript=SAID)),
            lambda: runtime.once(AGENT, TurnRequest(transcript=SAID), key="o"),
        ):
            with pytest.raises(LimitError):
                await begin()
        quota.refuses = False

        assert (await (await runtime.start(session, "Hi")).result()).text == "Hello"


async def test_a_turn_that_could_not_begin_is_given_back(quota):
    async with made(scripted("Hello"), quota) as runtime:
        gone = await runtime.open(AGENT, owner="o")
        await runtime.delete(gone)
        with pytest.raises(LookupError):
            await runtime.start(gone, "Hi")

    assert quota.running.get("o", 0) == 0


async def test_cancelled_and_failed_turns_are_given_back(quota):
    def fails(request):
        raise ZeroDivisionError

    async with made(ScriptedModel(fails), quota) as runtime:
        turn = await runtime.once(AGENT, TurnRequest(transcript=SAID), key="o")
        await turn.cancel()
        assert (await (await runtime.once(AGENT, TurnRequest(transcript=SAID), key="o")).result()).status == "failed"

    assert quota.running == {"o": 0}


async def test_who_waits_for_his_session_counts_when_he_begins(quota):
    async with made(scripted("one", "two"), quota) as runtime:
        session = await runtime.open(AGENT, owner="o")
        first = await runtime.start(session, "Hi")
        with pytest.raises(BusyError):
            await runtime.start(session, "Hi")
        assert quota.running == {"o": 1}
        second = await runtime.start(session, "Hi", when_busy="queue")
        assert first.ended is not None
        await second.result()

    assert quota.running == {"o": 0}
