"""Agents whose tools have the same names and work on roots of their own; and shared states that can be planted.

What a turn does follows from the user's message, `NUMBER:PLAN`:

| plan | what happens |
|---|---|
| task | the asynchronous tool `where` is called |
| thread | the synchronous tool `look` is called |
| both | both, in parallel |
| fails | `where` fails, and the model says so |
| breaks | the model fails |
| hangs | the model says a word and nothing more: for turns that are cancelled |
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Literal, TypeAlias, get_args

import attrs

from gaia_core import Agent, Catalog, Context, ModelSpec, ScriptedModel, ToolError, Toolset, resource, tool
from gaia_core.events import TextDelta
from gaia_core.messages import ToolMessage, UserMessage, text_of
from gaia_core.models import Delta, Finished, ModelError, ModelRequest, ToolCallDelta

COLORS = ("red", "blue", "green", "grey", "black", "white")
PLANS = ("task", "thread", "both", "fails", "breaks", "hangs")

Plant: TypeAlias = Literal["argument", "resource", "answer", "thread"]
"""A state that turns share by mistake: an argument, a root, a model's text, what a thread keeps."""
PLANTS: tuple[Plant, ...] = get_args(Plant)


@attrs.define(eq=False)
class Root:
    """What an agent's tools work on. *user*: the session that has it; no other one may."""

    color: str
    generation: int
    user: str = ""

    def told(self, tag: str, session: str) -> str:
        """What a tool says: all that must be the turn's own."""
        self.user = self.user or session
        return f"{self.color}.{self.generation}/{tag}/{session}/{self.user}"


def expected(color: str, generation: int, tag: str, session: str) -> str:
    """What `Root.told` must say."""
    return f"{color}.{generation}/{tag}/{session}/{session}"


def agents(generation: int, plant: Plant | None = None) -> tuple[Agent, ...]:
    """An agent for each color. *generation*: of the catalog that they are in."""
    shared: dict[str, str] = {}
    kept: list[Root] = []

    @resource(scope="session")
    async def root(color: str, generation: int) -> AsyncIterator[Root]:
        if plant == "resource":
            kept.append(Root(color, generation))
            yield kept[0]
            return
        yield Root(color, generation)

    @tool(name="where", effects="read")
    async def where(ctx: Context[Root], tag: str) -> str:
        """Say the root and the tag."""
        if tag.endswith(":fails"):
            raise ToolError(f"no {tag} in {ctx.resource.color}")
        shared["tag"] = tag
        await asyncio.sleep(0)
        return ctx.resource.told(shared["tag"] if plant == "argument" else tag, ctx.session_id)

    @tool(name="look", effects="read")
    def look(ctx: Context[Root], tag: str) -> str:
        """Say the root and the tag, from a thread."""
        if plant == "thread":
            tag = shared.setdefault("thread", tag)
        return ctx.resource.told(tag, ctx.session_id)

    return tuple(
        Agent(
            color,
            instructions=f"You are {color} of generation {generation}.",
            tools=Toolset("t", (where, look), resource=root(color, generation)),
        )
        for color in COLORS
    )


def model(plant: Plant | None = None) -> ScriptedModel:
    """Does what the message's plan says, then answers with who it is, what it was asked, and what the tools said."""
    last: list[str] = []

    async def answer(request: ModelRequest) -> AsyncGenerator[Delta]:
        asked = [text_of(each.content) for each in request.messages if isinstance(each, UserMessage)]
        tag = asked[-1]
        plan = tag.partition(":")[2]
        results: list[str] = []
        for message in reversed(request.messages):
            if not isinstance(message, ToolMessage):
                break
            results.insert(0, text_of(message.content))
        await asyncio.sleep(0)
        if plan == "breaks":
            raise ModelError("bad_request", f"broken by {tag}")
        if plan == "hangs":
            yield TextDelta(f"{tag} ")
            await asyncio.Event().wait()
        if not results:
            names = {"thread": ("look",), "both": ("where", "look")}.get(plan, ("where",))
            for index, name in enumerate(names):
                yield ToolCallDelta(index, f"call_{index}", name, f'{{"tag":"{tag}"}}')
            yield Finished("tool_calls")
            return
        text = f"{text_of(request.messages[0].content)} | {' '.join(asked)} | {' & '.join(results)}"
        last.append(text)
        for piece in (last.pop(0) if plant == "answer" and len(last) > 1 else text).partition("|"):
            yield TextDelta(piece)
            await asyncio.sleep(0)
        if plant != "answer":
            last.clear()
        yield Finished("stop")

    return ScriptedModel(answer)


@attrs.frozen
class _Opened:
    model: ScriptedModel = attrs.field(eq=False)

    def __call__(self) -> ScriptedModel:
        return self.model


def catalog(generation: int, opened: ScriptedModel, plant: Plant | None = None) -> Catalog:
    """The catalog of that generation."""
    spec = ModelSpec("local", open=_Opened(opened), slots=1024, queue=4096)
    return Catalog.of(*agents(generation, plant), models={"local": spec})
