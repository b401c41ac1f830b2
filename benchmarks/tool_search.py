"""Search over tools: 300 tools, with and without it. Tokens that are sent, time per turn, and the prefix that stays."""

import asyncio
import statistics
import time

from benchmarks.size import FULL, Size
from benchmarks.table import Row, show
from gaia_core import Agent, Catalog, Runtime, ScriptedModel, Toolset, call, tool
from gaia_core.agent import ToolSearch
from gaia_core.messages import ToolMessage, UserMessage
from gaia_core.models import ModelRequest

_AREAS = ("mail", "calendar", "invoice", "customer", "file", "photo", "music", "weather", "route", "ticket")
_VERBS = ("list", "show", "create", "change", "delete", "share")
_KINDS = ("draft", "archive", "template", "label", "comment")
_CORE = frozenset({"list_mail_draft", "show_file_draft", "list_calendar_draft"})
_TURNS = 50
_ROUNDS = 3
_CHARS = 4.0


def _tool(verb: str, area: str, kind: str):
    @tool(name=f"{verb}_{area}_{kind}", description=f"{verb.capitalize()} the {kind} of a {area}.", effects="read")
    async def run(name: str, limit: int = 10, recursive: bool = False) -> str:
        return "Done."

    return run


def _toolset() -> Toolset:
    return Toolset("office", [_tool(verb, area, kind) for area in _AREAS for verb in _VERBS for kind in _KINDS])


def _answer(request: ModelRequest):
    """Find the tool, call it, say so: three requests, two where everything is there."""
    last = request.messages[-1]
    if isinstance(last, ToolMessage):
        done = last.content == "Done."
        return "Done." if done else call("share_ticket_label", name="a")
    assert isinstance(last, UserMessage)
    finds = any(definition.name == "find_tools" for definition in request.tools)
    known = any(definition.name == "share_ticket_label" for definition in request.tools)
    return (
        call("find_tools", query="share the label of a ticket")
        if finds and not known
        else call("share_ticket_label", name="a")
    )


async def _turns(agent: Agent, turns: int) -> tuple[ScriptedModel, float]:
    """The model that was asked in a session of many turns, and the median ms of a turn but the first."""
    model, taken = ScriptedModel(_answer), []
    async with Runtime(Catalog.of(agent, models={"local": model})) as runtime:
        session = await runtime.open(agent)
        for _ in range(turns):
            started = time.perf_counter()
            ended = await (await runtime.start(session, "Share it.")).result()
            taken.append(time.perf_counter() - started)
            assert ended.status == "completed", ended
    return model, statistics.median(taken[1:]) * 1000


def _tokens(request: ModelRequest) -> int:
    return int(sum(len(definition.encoded) for definition in request.tools) / _CHARS)


def _stays(model: ScriptedModel) -> float:
    """How many percent of the requests begin, tools and messages, with those of the one before, byte for byte."""
    tools = [b"".join([definition.encoded for definition in request.tools]) for request in model.requests]
    messages = [b"".join(request.encoded) for request in model.requests]
    stayed = [
        tools[n].startswith(tools[n - 1]) and messages[n].startswith(messages[n - 1]) for n in range(1, len(tools))
    ]
    return 100 * sum(stayed) / len(stayed)


async def _measure(size: Size) -> None:
    turns = size(_TURNS, brief=3)
    tools = _toolset()
    everything, agent = Agent("clerk", tools=tools), Agent("clerk", tools=tools, search=ToolSearch(core=_CORE))
    # By turns, and the best of each: what else this machine does falls on both.
    rounds = [(await _turns(everything, turns), await _turns(agent, turns)) for _ in range(size(_ROUNDS))]
    plain, found = rounds[-1][0][0], rounds[-1][1][0]
    plain_ms, found_ms = min(one[1] for one, _ in rounds), min(other[1] for _, other in rounds)
    started = time.perf_counter()
    for _ in range(turns):
        agent.tool_index.search("share the label of a ticket", 5)
    searching = (time.perf_counter() - started) / turns * 1000
    all_of_them = _tokens(plain.requests[-1])
    rows = [
        Row("tokens of tools sent: all", all_of_them, "tok"),
        Row("with search, at first", _tokens(found.requests[0]), "tok"),
        Row("with search, after 5 were loaded", _tokens(found.requests[-1]), "tok"),
        Row("the same, in percent of all", 100 * _tokens(found.requests[-1]) / all_of_them, "%", None, 10.0),
        Row("a turn of 2 requests and a call: all are sent", plain_ms, "ms"),
        Row("the same, with search (floor: all are sent)", found_ms, "ms", plain_ms),
        Row("one search", searching, "ms", None, 10.0),
        Row("requests whose prefix stayed byte-identical", _stays(found), "%", None, 100.0, at_least=True),
    ]
    show(f"Search over {len(tools)} tools, {turns} turns of one session ({_CHARS:g} characters a token)", rows)


def main(size: Size = FULL) -> None:
    """Print the table."""
    asyncio.run(_measure(size))
