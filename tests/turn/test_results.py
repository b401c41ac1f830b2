"""Long results: the model is shown the beginning, and can read on."""

import pytest

from gaia_core import Agent, Catalog, Limits, Runtime, ScriptedModel, Toolset, call, scripted, tool
from gaia_core.events import ToolEnded
from gaia_core.messages import ToolMessage, text_of
from gaia_core.nesting import MAX_NESTING

LONG = "".join(f"line {n}\n" for n in range(200))


@tool(effects="read")
async def long() -> str:
    """Say much."""
    return LONG


AGENT = Agent("a", tools=Toolset("t", (long,)), limits=Limits(result_chars=500))


async def test_the_rest_of_a_long_result_can_be_read(run):
    def model(request):
        results = [message for message in request.messages if isinstance(message, ToolMessage)]
        if not results:
            assert "read_result" not in {offered.name for offered in request.tools}
            return call("long")
        assert "read_result" in {offered.name for offered in request.tools}
        if len(results) == 1:
            return call("read_result", call_id=results[0].tool_call_id, offset=500)
        return "ok"

    told = await run(AGENT, ScriptedModel(model))

    first, rest = told.of(ToolEnded)
    assert first.content.startswith(LONG[:500])
    assert f"{len(LONG) - 500} more characters were left out" in first.content
    assert rest.outcome == "ok"
    assert rest.content.startswith(LONG[500:800])
    assert len(rest.content) <= 500


async def test_every_part_is_reached_by_the_offsets_that_are_named(run):
    parts: list[str] = []

    def model(request):
        last = text_of(request.messages[-1].content)
        if not isinstance(request.messages[-1], ToolMessage):
            return call("long")
        if "read_result(" not in last:
            parts.append(last)
            return "ok"
        kept, _, handle = last.rpartition("\n… ")
        parts.append(kept)
        call_id = handle.partition('call_id="')[2].partition('"')[0]
        return call("read_result", call_id=call_id, offset=int(handle.partition("offset=")[2].partition(")")[0]))

    await run(AGENT, ScriptedModel(model))

    assert "".join(parts) == LONG


async def test_what_is_not_kept_is_named(run):
    told = await run(
        AGENT,
        call("long"),
        call("read_result", call_id="call_9"),
        call("read_result", call_id="call_1", offset=9999),
        "ok",
    )

    _, unknown, behind = told.of(ToolEnded)
    assert "no result of 'call_9' is kept. Did you mean 'call_1'? Kept: call_1" in unknown.content
    assert f"the result has {len(LONG)} characters" in behind.content


async def test_without_a_long_result_there_is_no_such_tool(run):
    told = await run(AGENT, call("read_result", call_id="x"), "ok")

    assert told.result.outcome == "unknown_tool"


async def test_a_later_turn_of_the_session_reads_on():
    model = scripted(call("long"), "ok", call("read_result", call_id="call_1", offset=1000), "ok")
    async with Runtime(Catalog.of(AGENT, models={"local": model})) as runtime:
        session = await runtime.open(AGENT)
        await (await runtime.start(session, "x")).result()
        turn = await runtime.start(session, "y")
        (ended,) = [event async for event in turn.events() if isinstance(event, ToolEnded)]

    assert ended.content.startswith(LONG[1000:1300])


def nested(levels: int) -> list:
    value: list = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [MAX_NESTING, MAX_NESTING + 1, 100_000])
async def test_a_result_may_be_nested_up_to_the_limit(run, levels):
    @tool(effects="read")
    async def deep() -> list:
        """Say much inside much."""
        return nested(levels)

    result = (await run((deep,), call("deep"), "ok")).result

    if levels == MAX_NESTING:
        assert (result.outcome, result.content) == ("ok", "[" * levels + "]" * levels)
    else:
        assert result.outcome == "error"
        assert result.content.startswith("Error: the tool's result is nested deeper than 128 levels")


async def test_a_result_that_holds_itself_is_told_so(run):
    @tool(effects="read")
    async def endless() -> list:
        """Say it again and again."""
        value: list = []
        value.append(value)
        return value

    result = (await run((endless,), call("endless"), "ok")).result

    assert result.content == "Error: the tool's result is nested deeper than 128 levels"
