"""A request, its turn, its model's request: one trace, over real connections; and a server that exports it."""

import asyncio
import gzip
import json
import sys

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gaia_core.models import Endpoint, EndpointConfig
from gaia_core.telemetry import OpenTelemetry
from gaia_http.operations._telemetry_export import export_from

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def telemetry(exporter):
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetry(tracers, MeterProvider((InMemoryMetricReader(),), shutdown_on_exit=False))


@pytest.fixture
async def site():
    """Serve *answer* at every path; its base URL."""
    runners = []

    async def site(answer) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield site
    for runner in runners:
        await runner.cleanup()


def chunks(text: str) -> bytes:
    """An endpoint's whole answer."""
    deltas = ({"content": text}, None), ({}, "stop")
    made = [{"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": why}]} for delta, why in deltas]
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in made) + b"data: [DONE]\n\n"


async def test_one_trace_from_the_client_to_the_model(serve, body, site, exporter, telemetry):
    heard = []

    async def answer(request: web.Request) -> web.Response:
        heard.append(request.headers.get("traceparent"))
        return web.Response(body=chunks("Hi."), headers={"content-type": "text/event-stream"})

    url = await site(answer)
    server = await serve(model=Endpoint(EndpointConfig(url=url, model="m")), telemetry=telemetry)

    text = await server.stream(headers={"traceparent": PARENT, "tracestate": "a=b"})

    assert '"content":"Hi."' in text
    while len(exporter.get_finished_spans()) < 3:
        await asyncio.sleep(0.001)
    request, turn, chat = sorted(exporter.get_finished_spans(), key=lambda span: span.start_time)
    assert [span.name for span in (request, turn, chat)] == [
        "POST /v1/chat/completions",
        "invoke_agent a",
        "chat local",
    ]
    assert {f"{span.context.trace_id:032x}" for span in (request, turn, chat)} == {TRACE}
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]
    assert (turn.parent.span_id, chat.parent.span_id) == (request.context.span_id, turn.context.span_id)
    assert heard == [f"00-{TRACE}-{chat.context.span_id:016x}-01"]
    assert (request.kind, request.attributes["http.response.status_code"]) == (SpanKind.SERVER, 200)
    assert request.attributes["http.route"] == "/v1/chat/completions"


async def test_a_trace_that_is_none_begins_a_new_one(serve, body, exporter, telemetry):
    server = await serve("Hi.", telemetry=telemetry)

    assert (await server.post(body(), headers={"traceparent": "00-zz"}))[0] == 200

    while len(exporter.get_finished_spans()) < 3:
        await asyncio.sleep(0.001)
    assert len({span.context.trace_id for span in exporter.get_finished_spans()}) == 1


async def test_a_request_that_is_refused_is_seen_without_its_query(serve, exporter, telemetry):
    server = await serve(telemetry=telemetry)

    async with server.http.get("/v1/nope?api_key=secret") as response:
        assert response.status == 404
    async with server.http.get("/health") as response:
        assert response.status == 200

    (span,) = exporter.get_finished_spans()  # who asks for health is not traced
    assert span.attributes["http.response.status_code"] == 404
    assert span.status.status_code is StatusCode.UNSET
    assert "secret" not in span.to_json()


# The process's environment.


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": ""},
    ],
)
def test_nothing_is_exported_unless_it_is_asked_for(environ):
    assert export_from(environ) is None


def test_an_exporter_that_is_not_known(caplog):
    assert export_from({"OTEL_TRACES_EXPORTER": "zipkin"}) is None
    assert "'zipkin' is not one of otlp, console, none" in caplog.text


def test_without_the_packages_the_server_says_so_and_goes_on(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    assert export_from({"OTEL_TRACES_EXPORTER": "console"}) is None
    assert "pip install 'gaia-server-http[otel]'" in caplog.text


async def test_what_is_exported_arrives(site, monkeypatch):
    arrived = asyncio.get_running_loop().create_future()

    async def collect(request: web.Request) -> web.Response:
        data = await request.read()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if request.path == "/v1/traces" and not arrived.done():
            arrived.set_result(ExportTraceServiceRequest.FromString(data))
        return web.Response(headers={"content-type": "application/x-protobuf"})

    url = await site(collect)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    export = export_from({"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SERVICE_NAME": "mine"})
    with export.telemetry.tracer.start_as_current_span("one"):
        pass

    await export.aclose()

    (resource,) = (await arrived).resource_spans
    named = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert named["service.name"] == "mine"
    assert [span.name for scope in resource.scope_spans for span in scope.spans] == ["one"]


async def test_a_collector_that_is_not_there_holds_up_nothing(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    export = export_from({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    with export.telemetry.tracer.start_as_current_span("one"):
        pass

    async with asyncio.timeout(20):
        await export.aclose()
