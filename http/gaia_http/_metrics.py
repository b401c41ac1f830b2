"""What a server counts, and its Prometheus text. Counts belong to one application; names begin with `gaia_`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gaia_core import Runtime

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

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
        requests = CounterMetricFamily("gaia_http_requests", "Answered requests.", labels=("route", "status"))
        for (route, status), count in sorted(self._counts.requests.items()):
            requests.add_metric((route, status), count)
        yield requests
        yield GaugeMetricFamily("gaia_http_streams_open", "Streams that are open.", value=self._counts.open_streams)
