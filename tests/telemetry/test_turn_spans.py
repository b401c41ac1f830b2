"""What OpenTelemetry is told of a turn: spans and metrics by the GenAI conventions."""

import asyncio
import json
from collections.abc import Callable

import attrs
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gaia_core import Agent, Catalog, Runtime, ScriptedModel, Toolset, call, scripted, tool
from gaia_core.agent import ApprovalPolicy
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.models import ModelError
from gaia_core.telemetry import OpenTelemetry
from gaia_core.turn import Audience, TurnOptions, TurnRequest

SECRET = "the word that must not be seen"


@attrs.frozen
class Seen:
    """What was exported."""

    telemetry: OpenTelemetry
    tracers: TracerProvider
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @property
    def spans(self) -> list[ReadableSpan]:
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)

    def one(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    @property
    def tree(self) -> list[str]:
        """Each span's name, two blanks in for each span above it."""
        by_id = {span.context.span_id: span for span in self.spans}

        def depth(span: ReadableSpan) -> int:
            return 1 + depth(by_id[span.parent.span_id]) if span.parent and span.parent.span_id in by_id else 0

        return [f"{'  ' * depth(span)}{span.name}" for span in self.spans]

    @property
    def metrics(self) -> dict[str, list]:
        data = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def seen() -> Callable[..., Seen]:
    def seen(**options: object) -> Seen:
        exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(exporter))
        meters = MeterProvider((reader,), shutdown_on_exit=False)
        return Seen(OpenTelemetry(tracers, meters, **options), tracers, exporter, reader)

    return seen


@tool(effects="read")
async def look(where: str) -> str:
    """Look somewhere."""
    return f"{SECRET} in {where}"


@tool(effects="write")
async def change() -> str:
    """Change something."""
    return "done"


AGENT = Agent("coder", tools=Toolset("t", (look,)))


async def run(seen: Seen, agent: Agent, model: object, *more: Agent, **options: object) -> None:
    catalog = Catalog.of(agent, *more, models={"local": model})
    async with Runtime(catalog, observer=seen.telemetry) as runtime:
        async for _ in runtime.turn(agent, SECRET, **options):
            pass


async def test_a_turn_its_model_requests_and_its_tools(seen):
    seen = seen()

    await run(seen, AGENT, scripted(call("look", where="here"), "Found."))

    assert seen.tree == ["invoke_agent coder", "  chat local", "  execute_tool look", "  chat local"]
    assert len({span.context.trace_id for span in seen.spans}) == 1
    assert {span.status.status_code for span in seen.spans} == {StatusCode.UNSET}
    turn, first, used, last = seen.spans
    assert (turn.kind, first.kind, used.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.INTERNAL)
    assert turn.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert turn.attributes["gen_ai.agent.name"] == "coder"
    assert turn.attributes["gen_ai.agent.version"] == AGENT.fingerprint
    assert (turn.attributes["gaia.turn.status"], turn.attributes["gaia.turn.steps"]) == ("completed", 2)
    assert first.attributes["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert last.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert last.attributes["gen_ai.request.model"] == "local"
    assert last.attributes["gen_ai.conversation.id"] == turn.attributes["gen_ai.conversation.id"]
    assert used.attributes["gen_ai.tool.name"] == "look"
    both = [span.attributes["gen_ai.usage.output_tokens"] for span in (first, last)]
    assert sum(both) == turn.attributes["gen_ai.usage.output_tokens"]


async def test_what_was_said_is_seen_only_when_asked_for(seen):
    quiet, open_ = seen(), seen(contents=True)

    for each in (quiet, open_):
        await run(each, AGENT, scripted(call("look", where="here"), f"It is {SECRET}."))

    assert SECRET not in "".join(span.to_json() for span in quiet.spans)
    *_, used, last = open_.spans
    assert json.loads(used.attributes["gen_ai.tool.call.arguments"]) == {"where": "here"}
    assert used.attributes["gen_ai.tool.call.result"] == f"{SECRET} in here"
    asked = json.loads(last.attributes["gen_ai.input.messages"])
    assert [message["role"] for message in asked] == ["user", "assistant", "tool"]
    assert asked[0]["parts"] == [{"type": "text", "content": SECRET}]
    assert asked[1]["parts"][0]["type"] == "tool_call"
    assert asked[2]["parts"][0]["response"] == f"{SECRET} in here"
    assert json.loads(last.attributes["gen_ai.output.messages"])[0]["parts"][0]["content"] == f"It is {SECRET}."


async def test_a_sub_agent_is_below_the_call_that_runs_it(seen):
    seen = seen()
    inner = Agent("helper", tools=Toolset("t", (look,)))
    outer = Agent("boss", tools=Toolset("team", (inner.as_tool("ask"),)))
    model = scripted(call("ask", task="Look."), call("look", where="x"), "There.", "Done.")

    await run(seen, outer, model, inner)

    assert seen.tree == [
        "invoke_agent boss",
        "  chat local",
        "  execute_tool ask",
        "    invoke_agent helper",
        "      chat local",
        "      execute_tool look",
        "      chat local",
        "  chat local",
    ]


async def test_the_model_request_carries_its_span_on_and_the_turn_belongs_to_who_asked(seen):
    seen = seen()
    model = scripted("Hi.")

    with seen.tracers.get_tracer("test").start_as_current_span("outer") as outer:
        await run(seen, Agent("a"), model)

    chat = seen.one("chat local").context
    headers = dict(model.requests[0].headers)
    assert headers["traceparent"].startswith(f"00-{chat.trace_id:032x}-{chat.span_id:016x}-")
    assert seen.tree == ["outer", "  invoke_agent a", "    chat local"]
    assert seen.one("invoke_agent a").parent == outer.get_span_context()


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [({"where": 7, "x": []}, "invalid"), (None, "unknown_tool")],
)
async def test_a_call_that_never_ran_says_why(seen, arguments, outcome):
    seen = seen()
    first = call("look", **arguments) if arguments else call("nothing")

    await run(seen, AGENT, scripted(first, "Pity."))

    (span,) = [span for span in seen.spans if span.name.startswith("execute_tool")]
    assert span.attributes["error.type"] == span.attributes["gaia.tool.outcome"] == outcome
    assert span.status.status_code is StatusCode.ERROR


async def test_a_model_that_fails(seen):
    seen = seen()

    def fail(request):
        raise ModelError("server", f"broken by {SECRET}")

    await run(seen, Agent("a"), ScriptedModel(fail))

    assert [span.attributes["error.type"] for span in seen.spans] == ["server", "server"]
    (point,) = seen.metrics["gen_ai.client.operation.duration"]
    assert point.attributes["error.type"] == "server"
    assert SECRET not in "".join(span.to_json() for span in seen.spans)


async def test_a_turn_that_is_cancelled_leaves_no_span_open(seen):
    seen = seen()
    began = asyncio.Event()

    @tool(effects="read")
    async def hang() -> None:
        """Hang."""
        began.set()
        await asyncio.Event().wait()

    agent = Agent("a", tools=Toolset("t", (hang,)))
    async with Runtime(Catalog.of(agent, models={"local": scripted(call("hang"))}), observer=seen.telemetry) as runtime:
        turn = await runtime.start(await runtime.open("a"), "x")
        await began.wait()
        await turn.cancel()

    assert seen.tree == ["invoke_agent a", "  chat local", "  execute_tool hang"]
    assert seen.one("execute_tool hang").attributes["error.type"] == "cancelled"
    assert seen.one("invoke_agent a").attributes["error.type"] == "cancelled"


async def test_a_turn_that_another_process_goes_on_with(seen, tmp_path):
    first, second = seen(), seen()
    agent = Agent("a", tools=Toolset("t", (change,)), approvals=ApprovalPolicy(tools=["change"]))
    place = tmp_path / "journal.sqlite"

    def runtime(seen: Seen, *answers: object) -> Runtime:
        catalog = Catalog.of(agent, models={"local": scripted(*answers)})
        return Runtime(catalog, SQLiteJournal(place), observer=seen.telemetry)

    async with runtime(first, call("change")) as here:
        turn = await here.start(await here.open("a", "s"), TurnRequest("x", audience=Audience.INTERACTIVE))
        async for event in turn.events():
            if type(event).__name__ == "ApprovalRequested":
                break
    async with runtime(second, "Done.") as there:
        while (turn := there.running("", "s")) is None:
            await asyncio.sleep(0.001)
        approval = next(iter(turn.answers.open))
        await turn.decide(approval, approved=True)
        await turn.result()

    assert first.one("invoke_agent a").attributes["error.type"] == "suspended"
    assert [event.name for event in first.one("invoke_agent a").events] == ["gaia.approval.requested"]
    assert second.tree == ["invoke_agent a", "  execute_tool change", "  chat local"]
    names = [event.name for event in second.one("invoke_agent a").events]
    assert names == ["gaia.turn.resumed", "gaia.approval.decided"]
    turns = {seen.one("invoke_agent a").attributes["gaia.turn.id"] for seen in (first, second)}
    assert len(turns) == 1


async def test_what_is_measured(seen):
    seen = seen()

    await run(seen, AGENT, scripted(call("look", where="here"), "Found."))

    counts = {name: sum(point.count for point in points) for name, points in seen.metrics.items()}
    assert counts["gen_ai.client.operation.duration"] == 2
    assert counts["gen_ai.execute_tool.duration"] == 1
    assert counts["gen_ai.invoke_agent.duration"] == 1
    assert counts["gen_ai.client.operation.time_to_first_chunk"] == 1
    (point,) = seen.metrics["gen_ai.execute_tool.duration"]
    assert dict(point.attributes) == {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"}


async def test_what_a_client_asks_for_stands_in_the_span(seen):
    from gaia_core.models import Sampling

    seen = seen()

    await run(seen, Agent("a"), scripted("Hi."), options=TurnOptions(sampling=Sampling(temperature=0.5, max_tokens=7)))

    attributes = seen.one("chat local").attributes
    assert (attributes["gen_ai.request.temperature"], attributes["gen_ai.request.max_tokens"]) == (0.5, 7)


async def test_an_observer_that_fails_harms_no_turn(caplog):
    class Broken:
        sees_turns = True

        def turn(self, session, turn_id):
            return self

        def take(self, events):
            raise RuntimeError("broken")

        asking = close = take

    async with Runtime(Catalog.of(Agent("a"), models={"local": scripted("Hi.")}), observer=Broken()) as runtime:
        events = [event async for event in runtime.turn("a", "x")]

    assert events[-1].text == "Hi."
    assert caplog.text.count("failed and sees no more of it") == 1
