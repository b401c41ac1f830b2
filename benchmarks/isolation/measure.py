"""The run: turns of all agents at once, some recorded and some not, some cancelled, some failing, over reloads."""

import argparse
import asyncio
import random
import time
from collections import Counter

import attrs

from benchmarks.isolation.agents import COLORS, PLANS, PLANTS, Plant, catalog, expected, model
from benchmarks.table import Row, show
from gaia_core import Runtime, Session
from gaia_core.events import (
    Event,
    StepEnded,
    TextDelta,
    ToolCalled,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)
from gaia_core.messages import UserMessage, text_of
from gaia_core.turn import Turn, TurnRequest

_WORKERS = 64
_WEIGHTS = (10, 3, 3, 2, 1, 1)
"""How often each plan comes."""
_TURNS_OF_A_SESSION = 3
_RELOADS = 50
_MOST_CROSSED = 20
_CALLS = {"task": 1, "thread": 1, "both": 2, "fails": 1, "breaks": 0, "hangs": 0}


@attrs.define
class Found:
    """What came of the turns. *crossed*: the first things that were another turn's."""

    turns: int = 0
    crossings: int = 0
    crossed: list[str] = attrs.field(factory=list)
    ends: Counter[str] = attrs.field(factory=Counter)
    events: int = 0
    reloads: int = 0

    def cross(self, words: str) -> None:
        self.crossings += 1
        if len(self.crossed) < _MOST_CROSSED:
            self.crossed.append(words)


@attrs.frozen
class Asked:
    """One turn: of which agent, in which generation of the catalog, what it was asked now and before."""

    color: str
    generation: int
    tag: str
    before: tuple[str, ...]

    @property
    def plan(self) -> str:
        return self.tag.partition(":")[2]

    def result(self, session: str) -> str:
        """What each of its tools says."""
        if self.plan == "fails":
            return f"Error: no {self.tag} in {self.color}"
        return expected(self.color, self.generation, self.tag, session)

    def answer(self, session: str) -> str:
        """Its whole answer."""
        results = " & ".join([self.result(session)] * _CALLS[self.plan])
        asked = " ".join((*self.before, self.tag))
        return f"You are {self.color} of generation {self.generation}. | {asked} | {results}"


def check(asked: Asked, turn: Turn, events: list[Event], found: Found) -> None:
    """Compare each of the turn's *events* with what it alone was asked."""
    session = turn.session_id
    ended = events[-1]
    if not isinstance(ended, TurnEnded):
        found.cross(f"{asked} has no end")
        return
    wrong = [event for event in events if not _is_own(event, asked, turn)]
    if wrong:
        found.cross(f"{asked} in {session} got {wrong[0]!r}")
    calls = sum(type(event) is ToolEnded for event in events)
    text = "".join(event.text for event in events if type(event) is TextDelta)
    found.ends[ended.status] += 1
    found.events += len(events)
    match asked.plan:
        case "hangs":
            right = ended.status == "cancelled" and text in ("", f"{asked.tag} ")
        case "breaks":
            right = ended.status == "failed" and ended.error is not None and asked.tag in ended.error.message
        case _:
            whole = asked.answer(session)
            right = (ended.status, ended.text, text, calls) == ("completed", whole, whole, _CALLS[asked.plan])
    if not right:
        found.cross(f"{asked} in {session} ended with {ended!r} and {text!r}")


def _is_own(event: Event, asked: Asked, turn: Turn) -> bool:
    match event:
        case TurnStarted():
            return (event.turn_id, event.session_id, event.agent) == (turn.id, turn.session_id, asked.color)
        case ToolCalled():
            return event.arguments == f'{{"tag":"{asked.tag}"}}'
        case ToolEnded():
            return event.content == asked.result(turn.session_id)
        case ToolStarted():
            return event.call_id.startswith("call_")
        case StepEnded() if not event.message.tool_calls:
            return text_of(event.message.content) == asked.answer(turn.session_id)
        case _:
            return True


class Isolation:
    """One run on one runtime."""

    def __init__(self, turns: int, seed: int, plant: Plant | None = None) -> None:
        self._turns = turns
        self._chance = random.Random(seed)
        self._plant = plant
        self._model = model(plant)
        self._generation = 0
        self._begun = 0
        self._every = max(1, turns // _RELOADS)
        self.found = Found()

    async def run(self) -> Found:
        """Run the turns, `_WORKERS` at once."""
        self._runtime = Runtime(catalog(0, self._model, self._plant))
        async with self._runtime, asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._work())
        return self.found

    async def _work(self) -> None:
        while self._begun < self._turns:
            if self._chance.random() < 0.5:
                await self._alone()
            else:
                await self._conversation()

    def _asked(self, color: str, before: tuple[str, ...]) -> Asked:
        self._begun += 1
        (plan,) = self._chance.choices(PLANS, _WEIGHTS)
        return Asked(color, self._generation, f"{self._begun}:{plan}", before)

    async def _alone(self) -> None:
        """A turn without a session."""
        asked = self._asked(self._chance.choice(COLORS), ())
        turn = await self._runtime.once(asked.color, TurnRequest(transcript=(UserMessage(asked.tag),)))
        await self._follow(asked, turn)

    async def _conversation(self) -> None:
        """Some turns of a session, whose history is its own."""
        color = self._chance.choice(COLORS)
        session = await self._runtime.open(color)
        generation, before = self._generation, ()
        for _ in range(_TURNS_OF_A_SESSION):
            if self._generation != generation:
                break  # its root would be the new generation's, and its handle the old agent
            asked = self._asked(color, before)
            await self._follow(asked, await self._start(session, asked))
            before = (*before, asked.tag)
        await self._runtime.delete(session)

    async def _start(self, session: Session, asked: Asked) -> Turn:
        return await self._runtime.start(session, asked.tag)

    async def _follow(self, asked: Asked, turn: Turn) -> None:
        reading = [event async for event in turn.events()] if asked.plan != "hangs" else await self._cancelled(turn)
        check(asked, turn, reading, self.found)
        self.found.turns += 1
        self._model.requests.clear()
        if self.found.turns % self._every == 0:
            await self._reload()

    async def _cancelled(self, turn: Turn) -> list[Event]:
        """The events of a turn that is cancelled at some time."""
        for _ in range(self._chance.randrange(6)):
            await asyncio.sleep(0)
        await turn.cancel()
        return [event async for event in turn.events()]

    async def _reload(self) -> None:
        """New agents of the same names, whose roots are others; running turns keep theirs."""
        generation = self._generation + 1
        reloaded = catalog(generation, self._model, self._plant)
        await self._runtime.reload(reloaded)
        self._generation = generation
        self.found.reloads += 1


async def isolated(turns: int, seed: int = 1, plant: Plant | None = None) -> Found:
    """Run *turns* turns, and compare all of them."""
    return await Isolation(turns, seed, plant).run()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks isolation")
    parser.add_argument("--turns", type=int, default=1_000_000, help="how many turns (default: 1000000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", choices=PLANTS, help="share a state on purpose: the run must then fail")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    found = asyncio.run(isolated(given.turns, given.seed, given.plant))
    rows = [
        Row("turns", found.turns, "", None, given.turns, at_least=True),
        *(Row(f"  {status}", count, "") for status, count in sorted(found.ends.items())),
        Row("events that were compared", found.events, ""),
        Row("reloads", found.reloads, ""),
        Row("turns a second", found.turns / (time.monotonic() - began), "/s"),
        Row("crossed", found.crossings, "", None, 0),
    ]
    show(f"Turns of {len(COLORS)} agents with the same tool names, {_WORKERS} at once", rows)
    for words in found.crossed:
        print(f"  CROSSED {words[:500]}")
    if any(row.holds == "NO" for row in rows):
        raise SystemExit("something crossed: see CROSSED above")
