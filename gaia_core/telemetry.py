"""OpenTelemetry: traces and metrics of turns by the GenAI conventions. Needs `opentelemetry-api` (the extra `otel`).

    Runtime(catalog, observer=OpenTelemetry(tracer_provider=…, meter_provider=…))

    POST /v1/chat/completions              the request, where there is one: its span is the current one
      invoke_agent coder                   the turn
        chat local                         a model request, waiting for its slot included
        execute_tool read_file
        execute_tool ask_reviewer          a sub-agent
          invoke_agent reviewer
            chat local

It is a fold over a turn's events. What was said (messages, arguments, results) is in no span unless *contents* asks
for it. A model request carries its span on as `traceparent`. Names and units: OpenTelemetry's semantic conventions for
generative AI (github.com/open-telemetry/semantic-conventions-genai, development).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import msgspec
from opentelemetry import context, metrics, trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gaia_core.agent import Agent
from gaia_core.events import (
    ApprovalDecided,
    ApprovalRequested,
    ContextCompacted,
    Event,
    LimitReached,
    ModelRetried,
    Nested,
    Queued,
    RecordDelayed,
    StepEnded,
    ToolCalled,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnResumed,
)
from gaia_core.messages import AssistantMessage, Message, ToolMessage, Usage, text_of
from gaia_core.models import ModelRequest, Sampling
from gaia_core.session import Session
from gaia_core.turn import TurnObserver

Attributes: TypeAlias = Mapping[str, str | bool | int | float | Sequence[str]]

SCOPE = "gaia"
_PROVIDER = "gaia"
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4**n for n in range(14))
_UNTOLD = frozenset(("ok", "completed", "tool_calls", "limit"))
_SAMPLING = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "max_tokens")


class OpenTelemetry:
    """An `Observer` of a runtime. Without providers it uses the process's own, which do nothing unless somebody set
    them. *contents*: spans hold what was said, too."""

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        contents: bool = False,
    ) -> None:
        self.contents = contents
        self.tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        self.meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
        self.propagator = TraceContextTextMapPropagator()
        self.measures = _Measures.of(self.meter)

    sees_turns = True
    """See Observer."""

    def turn(self, session: Session, turn_id: str) -> TurnObserver:
        """See Observer. The turn's span is a child of the current one."""
        return _TurnSpans(self, session, turn_id, context.get_current())


@attrs.frozen
class _Measures:
    chat: metrics.Histogram
    tokens: metrics.Histogram
    first_chunk: metrics.Histogram
    turn: metrics.Histogram
    tool: metrics.Histogram

    @classmethod
    def of(cls, meter: metrics.Meter) -> "_Measures":
        def histogram(name: str, unit: str, text: str, bounds: Sequence[float]) -> metrics.Histogram:
            return meter.create_histogram(name, unit, text, explicit_bucket_boundaries_advisory=bounds)

        return cls(
            histogram("gen_ai.client.operation.duration", "s", "GenAI operation duration.", _SECONDS),
            histogram("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", _TOKENS),
            histogram("gen_ai.client.operation.time_to_first_chunk", "s", "Time to receive the first chunk.", _SECONDS),
            histogram("gen_ai.invoke_agent.duration", "s", "Duration of an agent's turn.", _SECONDS),
            histogram("gen_ai.execute_tool.duration", "s", "Duration of a tool call.", _SECONDS),
        )


class _Timed:
    """A span that is open, and the attributes of its metrics."""

    __slots__ = ("attributes", "began", "span", "wall")

    def __init__(self, span: Span, attributes: dict[str, str], wall: int) -> None:
        self.span = span
        self.attributes = attributes
        self.wall = wall
        self.began = time.monotonic()

    def end(self, into: metrics.Histogram, error: str | None = None, seconds: float | None = None) -> None:
        """End it, *seconds* after its beginning (now), by the *error* of that type."""
        passed = time.monotonic() - self.began
        seconds = passed if seconds is None else min(seconds, passed)
        if error is not None:
            self.attributes["error.type"] = error
            self.span.set_attribute("error.type", error)
            self.span.set_status(StatusCode.ERROR)
        within = trace.set_span_in_context(self.span)
        self.span.end(self.wall + int(seconds * 1e9))
        into.record(seconds, self.attributes, within)


class _Part:
    """One agent's part of a turn: the turn's own, or a sub-agent's."""

    __slots__ = ("agent", "chat", "tools")

    def __init__(self, agent: _Timed) -> None:
        self.agent = agent
        self.chat: _Timed | None = None
        self.tools: dict[str, _Timed] = {}


class _TurnSpans:
    """The fold: a turn's events → spans."""

    def __init__(self, telemetry: OpenTelemetry, session: Session, turn_id: str, parent: context.Context) -> None:
        self._telemetry = telemetry
        self._session = session.id
        self._parent = parent
        self._error: str | None = "suspended"
        self._called: dict[str, str] = {}
        """What a call that hasn't started is given, where contents are shown."""
        self._names: dict[str, str] = {}
        self._parts: dict[str, _Part] = {}
        self._part("", session.agent).agent.span.set_attribute("gaia.turn.id", turn_id)

    def take(self, events: Sequence[Event]) -> None:
        """See TurnObserver."""
        for event in events:
            path, inner = "", event
            while type(inner) is Nested:
                path, inner = f"{path}{inner.parent_call_id}/", inner.event
            if (note := _FOLDED.get(type(inner))) is not None and (part := self._parts.get(path)) is not None:
                note(self, path, part, inner)

    def asking(self, path: str, agent: Agent, request: ModelRequest) -> tuple[tuple[str, str], ...]:
        """See TurnObserver."""
        part = self._parts.get(path) or self._part(path, agent)
        if part.chat is not None:  # it wasn't ready, and is asked again
            part.chat.end(self._telemetry.measures.chat, "not_ready")
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _PROVIDER,
            "gen_ai.request.model": agent.model,
        }
        more = _asked(request.sampling) | {"gen_ai.request.stream": True, "gen_ai.conversation.id": self._session}
        if request.response_format is not None:
            more["gen_ai.output.type"] = "json"
        if self._telemetry.contents:
            more["gen_ai.input.messages"] = _messages(request.messages)
        part.chat = self._begin(f"chat {agent.model}", attributes, more, part.agent, SpanKind.CLIENT)
        headers: dict[str, str] = {}
        self._telemetry.propagator.inject(headers, trace.set_span_in_context(part.chat.span))
        return tuple(headers.items())

    def close(self) -> None:
        """See TurnObserver."""
        measures = self._telemetry.measures
        for part in reversed(tuple(self._parts.values())):
            if part.chat is not None:
                part.chat.end(measures.chat, self._error or "cancelled")
            for tool in part.tools.values():
                tool.end(measures.tool, self._error or "cancelled")
            part.agent.end(measures.turn, self._error)
        self._parts.clear()

    def _part(self, path: str, agent: Agent) -> _Part:
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": _PROVIDER,
            "gen_ai.agent.name": agent.name,
            "gen_ai.request.model": agent.model,
        }
        more = {"gen_ai.conversation.id": self._session, "gen_ai.agent.version": agent.fingerprint}
        parent = None
        if path:
            above, _, call = path.rstrip("/").rpartition("/")
            caller = self._parts.get(f"{above}/" if above else "")
            parent = caller.tools.get(call) if caller is not None else None
        part = _Part(self._begin(f"invoke_agent {agent.name}", attributes, more, parent))
        self._parts[path] = part
        return part

    def _begin(
        self,
        name: str,
        attributes: dict[str, str],
        more: Attributes,
        parent: _Timed | None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> _Timed:
        within = self._parent if parent is None else trace.set_span_in_context(parent.span, self._parent)
        wall = time.time_ns()
        tracer = self._telemetry.tracer
        span = tracer.start_span(name, within, kind, {**attributes, **more}, start_time=wall)
        return _Timed(span, attributes, wall)

    # What is folded. Each method takes one kind of event.

    def _step_ended(self, _path: str, part: _Part, event: StepEnded) -> None:
        chat, part.chat = part.chat, None
        if chat is None:
            return
        usage, measures, span = event.usage, self._telemetry.measures, chat.span
        span.set_attributes(_used(usage))
        span.set_attribute("gen_ai.response.finish_reasons", (event.finish_reason,))
        if event.first_seconds is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", event.first_seconds)
            measures.first_chunk.record(event.first_seconds, chat.attributes)
        if self._telemetry.contents:
            span.set_attribute("gen_ai.output.messages", _messages((event.message,)))
        if not usage.estimated:
            for kind, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
                measures.tokens.record(count, {**chat.attributes, "gen_ai.token.type": kind})
        chat.end(measures.chat, None, event.seconds)

    def _compacted(self, _path: str, part: _Part, event: ContextCompacted) -> None:
        chat, part.chat = part.chat, None
        if chat is not None:
            chat.span.set_attributes(_used(event.usage))
            chat.end(self._telemetry.measures.chat)
        part.agent.span.add_event("gaia.context.compacted", {"gaia.tokens_before": event.tokens_before})

    def _called_tool(self, path: str, _part: _Part, event: ToolCalled) -> None:
        self._names[path + event.call_id] = event.tool
        if self._telemetry.contents:
            self._called[path + event.call_id] = event.arguments

    def _tool_started(self, path: str, part: _Part, event: ToolStarted) -> None:
        part.tools[event.call_id] = self._tool(path, part, event.call_id)

    def _tool_ended(self, path: str, part: _Part, event: ToolEnded) -> None:
        tool = part.tools.pop(event.call_id, None) or self._tool(path, part, event.call_id, event.tool)
        if not tool.attributes["gen_ai.tool.name"]:  # called in the process that was here before
            tool.attributes["gen_ai.tool.name"] = event.tool
            tool.span.update_name(f"execute_tool {event.tool}")
            tool.span.set_attribute("gen_ai.tool.name", event.tool)
        error = None if event.outcome == "ok" else event.outcome
        tool.span.set_attribute("gaia.tool.outcome", event.outcome)
        if event.still_running:
            tool.span.set_attribute("gaia.tool.still_running", value=True)
        if self._telemetry.contents:
            tool.span.set_attribute("gen_ai.tool.call.result", event.content)
        measures = self._telemetry.measures
        if (part_below := self._parts.pop(f"{path}{event.call_id}/", None)) is not None:
            if part_below.chat is not None:
                part_below.chat.end(measures.chat, error or "cancelled")
            part_below.agent.end(measures.turn, error)
        tool.end(measures.tool, error)

    def _tool(self, path: str, part: _Part, call_id: str, name: str = "") -> _Timed:
        name = self._names.pop(path + call_id, "") or name
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
        more = {"gen_ai.tool.call.id": call_id, "gen_ai.tool.type": "function"}
        if (arguments := self._called.pop(path + call_id, None)) is not None:
            more["gen_ai.tool.call.arguments"] = arguments
        return self._begin(f"execute_tool {name}", attributes, more, part.agent)

    def _turn_ended(self, _path: str, part: _Part, event: TurnEnded) -> None:
        span = part.agent.span
        span.set_attributes(_used(event.usage))
        span.set_attribute("gaia.turn.status", event.status)
        span.set_attribute("gaia.turn.steps", event.steps)
        self._error = None if event.status in _UNTOLD else event.error.type if event.error is not None else event.status

    def _noted(self, _path: str, part: _Part, event: Event) -> None:
        """What stands as an event in the span that it concerns."""
        within = part.chat if part.chat is not None else part.agent
        within.span.add_event(*_note_of(event))


_FOLDED: Mapping[type, Callable[[_TurnSpans, str, _Part, Any], None]] = MappingProxyType(
    {
        StepEnded: _TurnSpans._step_ended,  # noqa: SLF001  # a table of its own methods
        ContextCompacted: _TurnSpans._compacted,  # noqa: SLF001
        ToolCalled: _TurnSpans._called_tool,  # noqa: SLF001
        ToolStarted: _TurnSpans._tool_started,  # noqa: SLF001
        ToolEnded: _TurnSpans._tool_ended,  # noqa: SLF001
        TurnEnded: _TurnSpans._turn_ended,  # noqa: SLF001
        Queued: _TurnSpans._noted,  # noqa: SLF001
        ModelRetried: _TurnSpans._noted,  # noqa: SLF001
        ApprovalRequested: _TurnSpans._noted,  # noqa: SLF001
        ApprovalDecided: _TurnSpans._noted,  # noqa: SLF001
        LimitReached: _TurnSpans._noted,  # noqa: SLF001
        TurnResumed: _TurnSpans._noted,  # noqa: SLF001
        RecordDelayed: _TurnSpans._noted,  # noqa: SLF001
    }
)


def _note_of(event: Event) -> tuple[str, Attributes]:
    """The name and the attributes of *event* as a span's event."""
    match event:
        case Queued():
            return "gaia.slot.queued", {"gaia.position": event.position}
        case ModelRetried():
            return "gaia.model.retried", {"gaia.attempt": event.attempt, "gaia.delay": event.delay}
        case ApprovalRequested():
            return "gaia.approval.requested", {"gen_ai.tool.name": event.tool, "gen_ai.tool.call.id": event.call_id}
        case ApprovalDecided():
            return "gaia.approval.decided", {"gen_ai.tool.call.id": event.call_id, "gaia.approved": event.approved}
        case LimitReached():
            return "gaia.limit.reached", {"gaia.limit": event.limit, "gaia.value": event.value}
        case RecordDelayed():
            return "gaia.record.delayed", {"gaia.reason": event.reason}
        case _:
            return "gaia.turn.resumed", {}


def _used(usage: Usage) -> Attributes:
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }


def _asked(sampling: Sampling) -> dict[str, Any]:
    found = {
        f"gen_ai.request.{name}": value for name in _SAMPLING if (value := getattr(sampling, name, None)) is not None
    }
    if sampling.stop is not None:
        found["gen_ai.request.stop_sequences"] = (sampling.stop,) if isinstance(sampling.stop, str) else sampling.stop
    return found


def _messages(messages: Sequence[Message]) -> str:
    """*messages* in the conventions' JSON: a role and parts each."""
    return msgspec.json.encode([_message(message) for message in messages]).decode()


def _message(message: Message) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if isinstance(message, AssistantMessage) and message.reasoning_content:
        parts.append({"type": "reasoning", "content": message.reasoning_content})
    if isinstance(message, ToolMessage):
        parts.append({"type": "tool_call_response", "id": message.tool_call_id, "response": text_of(message.content)})
    elif text := text_of(message.content):
        parts.append({"type": "text", "content": text})
    if isinstance(message, AssistantMessage):
        parts += (
            {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
            for call in message.tool_calls
        )
    return {"role": message.__struct_config__.tag, "parts": parts}
