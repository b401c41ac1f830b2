"""Search over tools in a turn: a model is sent an agent's core and `find_tools`, which loads others for the session.

What is loaded is in the session's record (`Done.loaded`) and folded into the transcript, so it outlives a restart and
goes with a branch. The core comes first and does not change; what is loaded follows in the order of loading, so that
the beginning of every request stays as it was, byte for byte.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated

import attrs

from gaia_core.agent import FIND_TOOLS, Agent
from gaia_core.errors import GaiaError, ToolError
from gaia_core.tools import Context, ToolDefinition, define, doc, tool
from gaia_core.turn.calls._long_results import read_result
from gaia_core.turn.context._transcript import Transcript
from gaia_core.turn.tool_search._vector_search import fused

_log = logging.getLogger(__name__)

_ORIGINS = 12


@attrs.frozen(eq=False)
class ToolFinder:
    """What `find_tools` works on; *load* takes the names that it found."""

    agent: Agent
    transcript: Transcript
    load: Callable[[tuple[str, ...]], None]
    by_meaning: Callable[[str], Awaitable[tuple[str, ...]]] | None = None
    """All tools, the nearest to a query first; None: the search is by words alone."""


@tool(name=FIND_TOOLS, effects=(), idempotent=True)
async def find_tools(
    ctx: Context[ToolFinder],
    query: Annotated[str, doc("What you want to do, in a few words, or a tool's name", max_length=300)],
    limit: Annotated[int, doc("How many tools to load at most", ge=1, le=20)] = 5,
) -> str:
    """Find further tools by what they do, and load them: then you can call them."""
    agent = ctx.resource.agent
    found = await _found(ctx.resource, query, limit)
    if not found:
        raise ToolError(f"no tool fits {query[:100]!r}; try other words, such as {_some(agent)}")
    have = frozenset((*agent.core.names, *ctx.resource.transcript.loaded))
    ctx.resource.load(tuple(name for name in found if name not in have))
    listed = "\n".join(f"- {name}: {_first_line(agent.tools[name].description)}" for name in found)
    told = agent.tools.only(*found).instructions
    return f"You can call these now:\n{listed}" + (f"\n\n{told}" if told else "")


async def _found(finding: ToolFinder, query: str, limit: int) -> tuple[str, ...]:
    """The best by words and by meaning; one that *query* names is the first."""
    names = finding.agent.tools.names
    if finding.by_meaning is None:
        return finding.agent.tool_index.search(query, limit)
    words = finding.agent.tool_index.search(query, len(names))
    try:
        near = await finding.by_meaning(query)
    except GaiaError as error:
        _log.warning("search over tools by words alone, because the model for vectors failed: %s", error)
        return words[:limit]
    best = fused(words, near)
    if (named := query.strip()) in names:
        best = (named, *(name for name in best if name != named))
    return best[:limit]


def core_definitions(agent: Agent) -> tuple[ToolDefinition, ...]:
    """What a model is sent of an agent with search, at first and always: its core, and the tools to find and to read
    results, sorted by name."""
    more = len(agent.tools) - len(agent.core)
    text = f"{find_tools.description} There are {more} further ones, of {_some(agent)}."
    finder = define(FIND_TOOLS, text, find_tools.definition.parameters)
    own = {definition.name: definition for definition in (finder, read_result.definition, *agent.core.definitions)}
    return tuple(own[name] for name in sorted(own))


def loaded_definitions(agent: Agent, names: Iterable[str]) -> tuple[ToolDefinition, ...]:
    """The definitions of the loaded tools that the agent (still) has, in this order."""
    core = agent.core
    members = (agent.tools.get(name) for name in names if name not in core)
    return tuple(member.tool.definition for member in members if member is not None)


def _some(agent: Agent) -> str:
    """Where the agent's tools come from, for a model."""
    origins = sorted({member.origin for member in agent.tools.members})
    return ", ".join(origins[:_ORIGINS]) + (" and others" if len(origins) > _ORIGINS else "")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
