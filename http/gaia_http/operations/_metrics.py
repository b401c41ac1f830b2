"""What a server counts, and its Prometheus text. Counts belong to one application; names begin with `gaia_`."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gaia_core import Runtime
from gaia_core.runtime import RuntimeStats

if TYPE_CHECKING:
    from prometheus_client.metrics_core import HistogramMetricFamily, Metric

MEDIA_TYPE = "text/plain; version=0.0.4"  # Litestar adds the charset


class HttpCounts:
    """Requests by route and class of status, and streams that are open."""

    __slots__ = ("open_streams", "requests")

    def __init__(self) -> None:
        self.open_streams = 0
        self.requests: dict[tuple[str, str], int] = {}

    def request(self, route: str, status: int) -> None:
        """Count a request that was answered with *status*; 0: its client went before there was one."""
        key = (route, f"{status // 100}xx" if status else "none")
        self.requests[key] = self.requests.get(key, 0) + 1


def prometheus_text(runtime: Runtime, counts: HttpCounts) -> bytes:
    """The metrics of *runtime* and *counts* in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  # 60 ms that start-up saves

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(runtime, counts))
    return generate_latest(registry)


class _Collector:
    def __init__(self, runtime: Runtime, counts: HttpCounts) -> None:
        self._runtime = runtime
        self._counts = counts

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

        stats = self._runtime.stats()
        yield GaugeMetricFamily("gaia_turns_running", "Turns that run now.", value=stats.running_turns)
        yield GaugeMetricFamily("gaia_asyncio_tasks", "Tasks of the event loop.", value=len(asyncio.all_tasks()))
        running = GaugeMetricFamily(
            "gaia_background_task_up", "1: it runs; 0: it failed and waits for its restart.", labels=("task",)
        )
        failures = CounterMetricFamily(
            "gaia_background_task_failures", "Failures of background tasks.", labels=("task",)
        )
        for task in stats.background:
            running.add_metric((task.name,), float(task.running))
            failures.add_metric((task.name,), task.failures)
        yield from (running, failures)
        yield GaugeMetricFamily("gaia_sessions_known", "Sessions with something open here.", value=stats.sessions)
        turns = CounterMetricFamily("gaia_turns", "Ended turns by status.", labels=("status",))
        for status, count in stats.turns:
            turns.add_metric((status,), count)
        yield turns
        slots = GaugeMetricFamily("gaia_model_slots", "Requests that a model takes at once.", labels=("model",))
        busy = GaugeMetricFamily("gaia_model_slots_busy", "Slots in use.", labels=("model",))
        queued = GaugeMetricFamily("gaia_model_queued", "Requests that wait for a slot.", labels=("model",))
        for load in stats.models:
            slots.add_metric((load.model,), load.slots)
            busy.add_metric((load.model,), load.busy)
            queued.add_metric((load.model,), load.queued)
        yield from (slots, busy, queued)
        room = GaugeMetricFamily(
            "gaia_model_context_tokens", "Tokens that requests may need together.", labels=("model",)
        )
        needed = GaugeMetricFamily("gaia_model_context_tokens_busy", "Tokens that they need.", labels=("model",))
        for load in stats.models:
            if load.context_tokens is not None:
                room.add_metric((load.model,), load.context_tokens)
                needed.add_metric((load.model,), load.tokens)
        yield from (room, needed)
        up = GaugeMetricFamily(
            "gaia_model_endpoint_up", "1: it is asked; 0: it failed, and is left alone.", labels=("model", "endpoint")
        )
        for load in stats.models:
            for endpoint in load.endpoints:
                up.add_metric((load.model, endpoint.url), float(endpoint.state == "closed"))
        yield up
        tokens = CounterMetricFamily("gaia_tokens", "Tokens by kind.", labels=("kind",))
        usage = stats.usage
        for kind, count in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cached", usage.cached_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            tokens.add_metric((kind,), count)
        yield tokens
        calls = CounterMetricFamily("gaia_tool_calls", "Tool calls by outcome.", labels=("tool", "outcome"))
        for tool, outcome, count in stats.tool_calls:
            calls.add_metric((tool, outcome), count)
        yield calls
        yield from _histograms(stats)
        requests = CounterMetricFamily("gaia_http_requests", "Answered requests.", labels=("route", "status"))
        for (route, status), count in sorted(self._counts.requests.items()):
            requests.add_metric((route, status), count)
        yield requests
        yield GaugeMetricFamily("gaia_http_streams_open", "Streams that are open.", value=self._counts.open_streams)


def _histograms(stats: RuntimeStats) -> "Iterator[Metric]":
    from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily  # noqa: PLC0415

    for name, text, label, spreads in (
        ("gaia_turn_seconds", "How long ended turns ran.", "status", stats.turn_seconds),
        ("gaia_model_request_seconds", "Model requests, waiting included.", "model", stats.answer_seconds),
        ("gaia_first_token_seconds", "The same until the first token.", "model", stats.first_token_seconds),
        ("gaia_tool_seconds", "How long tools ran.", "tool", stats.tool_seconds),
    ):
        family = HistogramMetricFamily(name, text, labels=(label,))
        for key, spread in spreads:
            _spread(family, (key,), spread.latency, spread.count, spread.seconds)
        yield family
    journal = stats.journal
    appends = HistogramMetricFamily("gaia_journal_append_seconds", "From an append to its commit.", labels=())
    _spread(appends, (), journal.latency, journal.appends, journal.seconds)
    yield appends
    yield CounterMetricFamily("gaia_journal_records", "Records that were appended.", value=journal.records)
    yield CounterMetricFamily("gaia_journal_commits", "Commits, of one append or several.", value=journal.groups)
    yield CounterMetricFamily("gaia_journal_fenced", "Appends that another process forbade.", value=journal.fenced)


def _spread(
    family: "HistogramMetricFamily",
    labels: Sequence[str],
    latency: Sequence[tuple[float, int]],
    count: int,
    seconds: float,
) -> None:
    buckets = [(f"{bound:g}", below) for bound, below in latency]
    family.add_metric(labels, [*buckets, ("+Inf", count)], seconds)
