"""What fails before the first token is tried again where that can help; after it, never."""

import asyncio
import email.utils
import socket
import time

import pytest

from gaia_core.events import ModelRetried, TextDelta
from gaia_core.models import Endpoint, EndpointConfig, ModelError

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
async def test_a_status_that_may_pass_is_tried_again(endpoint, ask, wire, status):
    model, there = await endpoint(wire.fails(status, {"message": "not now"}), wire.answer("Hi"))
    told = await ask(model)
    (retried,) = told.of(ModelRetried)
    assert retried.attempt == 1
    assert "not now" in retried.reason
    assert str(status) in retried.reason
    assert told.text == "Hi"
    assert len(there.asked) == 2
    assert there.asked[0].raw == there.asked[1].raw


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501])
async def test_a_status_that_will_not_pass_is_an_error_at_once(endpoint, ask, wire, status):
    model, there = await endpoint(wire.fails(status, {"message": "never"}))
    with pytest.raises(ModelError, match="never") as caught:
        await ask(model)
    assert caught.value.status == status
    assert len(there.asked) == 1


async def test_tries_are_counted(endpoint, fails, wire):
    model, there = await endpoint(wire.fails(500), retries=2)
    error, told = await fails(model)
    assert (error.kind, error.status) == ("server", 500)
    assert [retried.attempt for retried in told] == [1, 2]
    assert len(there.asked) == 3


async def test_no_retries_means_one_request(endpoint, fails, wire):
    model, there = await endpoint(wire.fails(500), retries=0)
    _, told = await fails(model)
    assert told == []
    assert len(there.asked) == 1


async def test_each_wait_is_longer_and_never_the_same_for_all(endpoint, fails, wire):
    model, _ = await endpoint(wire.fails(500), retries=4, backoff=0.01)
    _, told = await fails(model)
    for retried in told:
        longest = 0.01 * 2 ** (retried.attempt - 1)
        assert longest / 2 <= retried.delay <= longest


@pytest.mark.parametrize(
    ("headers", "delay"),
    [({"retry_after_ms": "30"}, 0.03), ({"retry_after": "0"}, 0.0), ({"retry_after": "0.02"}, 0.02)],
)
async def test_the_endpoint_says_when_to_come_back(endpoint, ask, wire, headers, delay):
    model, _ = await endpoint(wire.fails(429, **headers), wire.answer("Hi"))
    before = time.monotonic()
    (retried,) = (await ask(model)).of(ModelRetried)
    assert retried.delay == delay
    assert time.monotonic() - before >= delay


async def test_the_endpoint_says_it_by_a_date(endpoint, ask, wire):
    date = email.utils.formatdate(time.time() + 1.0, usegmt=True)
    model, _ = await endpoint(wire.fails(503, retry_after=date), wire.answer("Hi"))
    (retried,) = (await ask(model)).of(ModelRetried)
    assert 0 <= retried.delay <= 1.0


@pytest.mark.parametrize("seconds", ["31", "86400", "9" * 15])
async def test_nobody_waits_for_an_endpoint_for_long(endpoint, fails, wire, seconds):
    model, there = await endpoint(wire.fails(429, retry_after=seconds))
    error, told = await fails(model)
    assert told == []
    assert error.retry_after == float(seconds)
    assert (error.kind, error.retryable) == ("rate_limited", True)
    assert len(there.asked) == 1


async def test_a_nonsense_date_is_no_reason_to_fail(endpoint, ask, wire):
    model, _ = await endpoint(wire.fails(429, retry_after="next week"), wire.answer("Hi"))
    assert (await ask(model)).text == "Hi"


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda wire: (wire.RESET,), id="reset after the head"),
        pytest.param(lambda wire: (wire.chunk("", role="assistant"), 0.02, wire.RESET), id="reset after the role"),
        pytest.param(lambda wire: (), id="nothing"),
        pytest.param(lambda wire: (b": ping\n\n",), id="a comment"),
        pytest.param(lambda wire: (b'data: {"choices": [{"del',), id="half an event"),
    ],
)
async def test_an_answer_that_breaks_before_its_first_token_is_asked_for_again(endpoint, ask, wire, broken):
    model, there = await endpoint(wire.says(*broken(wire)), wire.answer("Hi"))
    told = await ask(model)
    assert told.text == "Hi"
    assert len(told.of(ModelRetried)) == 1
    assert len(there.asked) == 2


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"", id="closed without a word"),
        pytest.param(b"what?\r\n\r\n", id="no HTTP"),
        pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\n", id="no chunks"),
        pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\nbad\r\n", id="bad chunks"),
        pytest.param(HEAD + b"content-length: 100\r\n\r\n", id="shorter than said"),
        pytest.param(HEAD + b"content-encoding: gzip\r\ncontent-length: 9\r\n\r\nno gzip!!", id="no gzip"),
        pytest.param(HEAD + b"x: " + b"y" * 100_000 + b"\r\n\r\n", id="a head of 100 KB"),
    ],
)
async def test_a_response_that_is_broken_is_asked_for_again(endpoint, ask, wire, head):
    model, there = await endpoint(wire.says(head, raw=True), wire.answer("Hi"))
    told = await ask(model)
    assert told.text == "Hi"
    assert len(there.asked) == 2


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(lambda wire: (0.02, wire.RESET), id="reset"),
        pytest.param(lambda wire: (), id="end"),
        pytest.param(lambda wire: (b'data: {"choices": [{"del',), id="half an event"),
        pytest.param(lambda wire: (b"data: {bad}\n\n" + wire.DONE,), id="no JSON"),
        pytest.param(lambda wire: (wire.event({"choices": "x"}) + wire.DONE,), id="no chunk"),
        pytest.param(lambda wire: (wire.event({"error": {"message": "out of memory"}}) + wire.DONE,), id="an error"),
        pytest.param(lambda wire: (wire.event({"error": "out of memory"}),), id="an error in words"),
    ],
)
async def test_an_answer_that_breaks_after_its_first_token_is_an_error(endpoint, fails, wire, rest):
    model, there = await endpoint(wire.says(wire.chunk("Hi"), 0.02, *rest(wire)))
    error, told = await fails(model)
    assert told == [TextDelta("Hi")]
    assert error.kind in ("broken_stream", "server")
    assert len(there.asked) == 1


async def test_an_error_in_the_stream_has_the_endpoints_words(endpoint, fails, wire):
    model, _ = await endpoint(wire.chunk("Hi") + wire.event({"error": {"message": "out of memory", "code": 500}}))
    error, _ = await fails(model)
    assert error.kind == "server"
    assert "out of memory" in str(error)


async def test_nobody_there_is_said(fails, open_client):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        model = Endpoint(EndpointConfig(url=base, model="m", backoff=0.001), open_client)
        error, told = await fails(model)
        await model.aclose()
    assert error.kind == "connect"
    assert base in str(error)
    assert len(told) == 2


async def test_a_connection_that_does_not_come_about_times_out(fails, open_client):
    # A full backlog: the system answers no further connection.
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        filling = [socket.socket() for _ in range(8)]
        for one in filling:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        url = f"http://127.0.0.1:{port}/v1"
        model = Endpoint(EndpointConfig(url=url, model="m", connect_timeout=0.1, retries=0), open_client)
        error, _ = await fails(model)
        await model.aclose()
        for one in filling:
            one.close()
    assert error.kind == "connect"
    assert "within 0.1 s" in str(error)


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param(lambda wire: wire.says(b"", wire.HANG, raw=True), id="no head"),
        pytest.param(lambda wire: wire.says(wire.HANG), id="a head"),
        pytest.param(lambda wire: wire.says(wire.chunk("", role="assistant"), wire.HANG), id="a role"),
        pytest.param(lambda wire: wire.says(*([b": ping\n\n", 0.02] * 5_000)), id="comments"),
        pytest.param(lambda wire: wire.says(b'{"choi', wire.HANG, media="application/json"), id="half a whole answer"),
    ],
)
async def test_the_first_token_has_its_time(endpoint, fails, wire, silent):
    model, there = await endpoint(silent(wire), first_token_timeout=0.2, silence_timeout=30.0)
    before = time.monotonic()
    async with asyncio.timeout(20):
        error, told = await fails(model)
    assert error.kind == "timeout"
    assert "0.2 s" in str(error)
    assert told == []
    assert time.monotonic() - before > 0.15
    async with asyncio.timeout(60):
        await there.asked[0].gone.wait()
    assert len(there.asked) == 1


async def test_silence_after_the_first_token_ends_the_answer(endpoint, fails, wire):
    model, there = await endpoint(wire.says(wire.chunk("Hi"), wire.HANG), silence_timeout=0.2)
    before = time.monotonic()
    async with asyncio.timeout(20):
        error, told = await fails(model)
    assert error.kind == "timeout"
    assert "nothing for 0.2 s" in str(error)
    assert told == [TextDelta("Hi")]
    assert time.monotonic() - before > 0.15
    async with asyncio.timeout(60):
        await there.asked[0].gone.wait()


async def test_a_slow_answer_that_goes_on_is_not_silent(endpoint, hi, wire, loop_clock):
    heard = asyncio.Event()

    async def pause() -> None:
        await heard.wait()
        heard.clear()
        loop_clock.advance(20.0)

    pieces = [piece for word in "abcdefghij" for piece in (wire.chunk(word), pause)]
    model, _ = await endpoint(wire.says(*pieces, wire.answer()), silence_timeout=30.0, first_token_timeout=30.0)
    text = ""
    async for batch in model.stream(hi):
        text += "".join(delta.text for delta in batch if isinstance(delta, TextDelta))
        heard.set()
    assert text == "abcdefghij"


async def test_the_first_token_may_take_longer_than_a_silence_may(endpoint, ask, wire):
    script = wire.says(wire.chunk("", role="assistant"), 0.3, wire.answer("Hi"))
    model, _ = await endpoint(script, silence_timeout=0.05, first_token_timeout=10.0)
    assert (await ask(model)).text == "Hi"


async def test_a_reader_that_takes_its_time_is_no_silence(endpoint, hi, wire, loop_clock):
    reads = asyncio.Event()
    model, _ = await endpoint(wire.says(wire.chunk("a"), reads.wait, wire.answer("b")), silence_timeout=30.0)
    text = ""
    async for batch in model.stream(hi):
        text += "".join(delta.text for delta in batch if isinstance(delta, TextDelta))
        for _ in range(5):
            await loop_clock.sleep(20.0)
        reads.set()
    assert text == "ab"


async def test_an_error_body_that_never_ends_is_not_waited_for(endpoint, fails, wire):
    answer = wire.says(b"partly", wire.HANG, status=400)
    model, _ = await endpoint(answer, silence_timeout=0.1)
    error, _ = await fails(model)
    assert error.status == 400


async def test_an_error_body_may_come_in_pieces(endpoint, fails, wire):
    answer = wire.says(b'{"error": {"mess', 0.02, b'age": "no"}}', status=400, media="application/json")
    model, _ = await endpoint(answer)
    error, _ = await fails(model)
    assert str(error).endswith("400: no")
