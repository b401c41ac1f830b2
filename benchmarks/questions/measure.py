"""The run: each question in a session of its own, put to the default agent in the folder, and a table of verdicts."""

import argparse
import asyncio
import importlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.questions.key import Question, Verdict
from gaia_core import Runtime
from gaia_core.catalog import Catalog, find_plugins
from gaia_core.catalog._default_catalog import default_catalog, embedded_model, for_small_model
from gaia_core.events import ToolCalled, ToolEnded, TurnEnded
from gaia_core.models.embedded import EmbeddedModel

_READY_SECONDS = 180.0
_SHOWN = 300


@attrs.frozen
class Answered:
    """One question's outcome."""

    question: Question
    verdict: Verdict
    text: str
    calls: tuple[str, ...]
    seconds: float


def main(arguments: Sequence[str]) -> None:
    """See the package."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks questions")
    parser.add_argument("weights", type=Path, help="a GGUF file")
    parser.add_argument("--set", choices=("first", "second"), default="first", help="second: the one held out")
    parser.add_argument("--only", default="", help="numbers of questions, such as 3,7")
    parser.add_argument("--show", action="store_true", help="also what each question's calls and answer were")
    chosen = parser.parse_args(arguments)
    given = importlib.import_module(f"benchmarks.questions.{chosen.set}")
    only = frozenset(int(number) for number in chosen.only.split(",") if number)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), given.FILES)
        load = os.getloadavg()[0]
        asked = [(n, one) for n, one in enumerate(given.QUESTIONS, 1) if not only or n in only]
        answered = asyncio.run(_ask(Path(folder), chosen.weights, given.FILES, asked, show=chosen.show))
    _table(f"{chosen.weights.name}, {chosen.set} set, load {load:.1f} to {os.getloadavg()[0]:.1f}", answered)


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Make *files* in *folder*."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def _ask(
    folder: Path, weights: Path, files: Mapping[str, str], questions: list[tuple[int, Question]], *, show: bool
) -> list[Answered]:
    plugins, problems = find_plugins()
    catalog = default_catalog(plugins, problems, {}, folder)
    spec = embedded_model(weights, slots=1)
    catalog = Catalog.of(*(for_small_model(agent) for agent in catalog.agents), models={spec.name: spec})
    known = [*files, *files.values()]
    answered: list[Answered] = []
    async with Runtime(catalog) as runtime:
        await _ready(runtime, spec.name)
        for number, question in questions:
            one = await _one(runtime, catalog.default_agent, question, known)
            answered.append(one)
            print(f"{number:3} {one.verdict:8} {one.seconds:5.1f} s  {question.text}", flush=True)
            if show:
                for call in one.calls:
                    print(f"             {call[:_SHOWN]!r}")
                print(f"             {one.text[:_SHOWN]!r}", flush=True)
    return answered


async def _ready(runtime: Runtime, name: str) -> None:
    model = runtime.models.get(name)
    assert isinstance(model, EmbeddedModel)
    async with asyncio.timeout(_READY_SECONDS):
        async for state in model.states():
            if state.phase == "ready":
                return


async def _one(runtime: Runtime, agent: str, question: Question, known: list[str]) -> Answered:
    session = await runtime.open(agent)
    began = time.perf_counter()
    calls: list[str] = []
    results: list[str] = []
    found = 0
    turn = await runtime.start(session, question.text)
    ended: TurnEnded | None = None
    async for event in turn.events():
        if isinstance(event, ToolCalled):
            calls.append(f"{event.tool} {event.arguments}")
        elif isinstance(event, ToolEnded):
            calls.append(f"  -> {event.outcome}: {event.content}")
            results.append(event.content)
            found += event.outcome == "ok"
        elif isinstance(event, TurnEnded):
            ended = event
    assert ended is not None
    text = ended.text if ended.status == "completed" else f"({ended.status}) {ended.text} {ended.error or ''}"
    verdict = question.judge(text, found, [*known, *results])
    return Answered(question, verdict, text, tuple(calls), time.perf_counter() - began)


def _table(title: str, answered: list[Answered]) -> None:
    print(f"\n{title}\n\n| kind | right | wrong | invented | seconds, median | most |\n|---|---|---|---|---|---|")
    kinds = list(dict.fromkeys(one.question.kind for one in answered))
    for kind in [*kinds, "all"]:
        of_kind = [one for one in answered if kind in ("all", one.question.kind)]
        count = Counter(one.verdict for one in of_kind)
        seconds = sorted(one.seconds for one in of_kind)
        print(
            f"| {kind} | {count['right']} | {count['wrong']} | {count['invented']} "
            f"| {seconds[len(seconds) // 2]:.1f} | {seconds[-1]:.1f} |"
        )
