"""Where traces and metrics go: OpenTelemetry's SDK, set up from its own environment variables.

`OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`, `…_METRICS_ENDPOINT`) switches it on; `OTEL_TRACES_EXPORTER` and
`OTEL_METRICS_EXPORTER` choose `otlp`, `console` or `none`; `OTEL_SDK_DISABLED=true` switches all off. Names, headers,
samplers and times are the SDK's to read. Without them nothing of OpenTelemetry is imported.
"""

import asyncio
import logging
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from gaia_core.telemetry import OpenTelemetry

_log = logging.getLogger(__name__)

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_CONTENTS = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_EXPORTERS = ("otlp", "console", "none")
_FLUSH_SECONDS = 3.0


@attrs.frozen(eq=False)
class TelemetryExport:
    """What is exported, until it is closed."""

    telemetry: "OpenTelemetry"
    tracers: "TracerProvider"
    meters: "MeterProvider"

    async def aclose(self) -> None:
        """Export what is left, within some seconds."""
        closing = asyncio.to_thread(self._shutdown)
        try:
            await asyncio.wait_for(closing, _FLUSH_SECONDS)
        except TimeoutError:
            _log.warning("the last traces and metrics could not be exported within %g s", _FLUSH_SECONDS)

    def _shutdown(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown(timeout_millis=_FLUSH_SECONDS * 1_000)


def export_from(environ: Mapping[str, str]) -> TelemetryExport | None:
    """The export that *environ* asks for; None when it asks for none, or when it can't be had, which is logged."""
    traces, metrics = _exporter("TRACES", environ), _exporter("METRICS", environ)
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or (traces, metrics) == ("none", "none"):
        return None
    try:
        return _made(traces, metrics, environ)
    except ImportError as error:
        _log.warning(
            "OTEL_… asks for traces or metrics, but %s is not installed: pip install 'gaia-server-http[otel]'",
            error.name,
        )
        return None


def _exporter(signal: str, environ: Mapping[str, str]) -> str:
    asked = environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower()
    if asked and asked not in _EXPORTERS:
        _log.warning("OTEL_%s_EXPORTER: %r is not one of %s; nothing is exported", signal, asked, ", ".join(_EXPORTERS))
        return "none"
    if asked:
        return asked
    return "otlp" if environ.get(_ENDPOINT) or environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") else "none"


def _made(traces: str, metrics: str, environ: Mapping[str, str]) -> TelemetryExport:
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415  # see the module's text
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    from gaia_core.telemetry import OpenTelemetry  # noqa: PLC0415

    name = environ.get("OTEL_SERVICE_NAME", "gaia")
    resource = Resource.create({"service.name": name, "service.version": version("gaia-server-http")})
    # Either may be missing: asked for first, because what follows starts threads.
    spans, measures = _span_exporter(traces), _metric_exporter(metrics)
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    if spans is not None:
        tracers.add_span_processor(BatchSpanProcessor(spans))
    readers = (PeriodicExportingMetricReader(measures),) if measures is not None else ()
    meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    contents = environ.get(_CONTENTS, "").lower() == "true"
    return TelemetryExport(OpenTelemetry(tracers, meters, contents=contents), tracers, meters)


def _span_exporter(kind: str) -> "SpanExporter | None":
    if kind == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        return OTLPSpanExporter()
    if kind == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415

        return ConsoleSpanExporter()
    return None


def _metric_exporter(kind: str) -> "MetricExporter | None":
    if kind == "otlp":
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

        return OTLPMetricExporter()
    if kind == "console":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter  # noqa: PLC0415

        return ConsoleMetricExporter()
    return None
