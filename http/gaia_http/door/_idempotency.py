"""`Idempotency-Key`: the same request again gets the same answer, and runs nothing again.

    return await idempotency.response(request.scope, body, respond, safe=…)   # respond: () -> the ASGI response

A request is identified by its caller, its path and its key, for 24 hours; the same key with another body gets a 409. A
second request that comes while the first runs follows its answer as it is written, streams too. The run doesn't depend
on its client: it continues when that disconnects, because a client with a key fetches the answer later.

The answer is kept in the journal, named by a hash of the three. It survives the process if the journal does, and
processes that share a journal share it. A run that ended without effect, and that a client may send again (429, 5xx),
leaves nothing.
"""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import msgspec
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gaia_core import GaiaError, Runtime
from gaia_http._errors import SERVER, ApiError, ErrorReply, invalid, of_exception
from gaia_http._settings import Settings
from gaia_http.door._caller import caller_of
from gaia_http.door._middleware import body_of
from gaia_http.streaming._sse_writer import ABORT, HEARTBEAT

_log = logging.getLogger(__name__)

SECONDS = 86_400.0
MAX_ANSWER_BYTES = 8_000_000
MAX_ANSWERS = 20_000

_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_SWEEP_SECONDS = 600.0
_SWEPT = 200
_CLOSING_SECONDS = 5.0
_BUSY_SECONDS = 2.0
_FINAL = 424  # the run had effects: it is not sent again
_NO_RETRY = (("x-should-retry", "false"),)
_REPLAYED = (b"idempotent-replayed", b"true")

Respond = Callable[[], Awaitable[ASGIApp]]


class _RecordedAnswer(msgspec.Struct, frozen=True, gc=False):
    """A response as the journal keeps it; *body* None: it was too long to be kept."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str | None


class _Run:
    """A response while it is made, and those who follow it."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.status = 0
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self.pieces: list[bytes] = []
        self.error: Exception | None = None
        self.over = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def kept(self) -> bytes:
        """The body without the comments that kept its line open."""
        return b"".join(piece for piece in self.pieces if piece != HEARTBEAT)

    async def take(self, message: Message) -> None:
        """What the response sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = tuple(message["headers"])
        elif message["type"] == "http.response.body" and message.get("body"):
            self.pieces.append(message["body"])
        self.wake()

    def end(self, error: Exception | None = None) -> None:
        """It is whole, or *error* is all there is."""
        self.error = error
        self.over = True
        self.wake()

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def more(self) -> asyncio.Future[None]:
        """Done when there is more than now."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return waiter


class Idempotency:
    """Belongs to one application."""

    def __init__(self, runtime: Runtime, settings: Settings) -> None:
        self._runtime = runtime
        self._settings = settings
        # All of these are written on the event loop. A run is in _runs from before its journal entry is begun until
        # after it is kept, so that a request of this process follows it and never sees it half kept.
        self._runs: dict[str, _Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._next_sweep = 0.0

    async def response(
        self, scope: Scope, body: bytes, respond: Respond, *, safe: Callable[[], bool] = lambda: False
    ) -> ASGIApp:
        """The response to the request: *respond*'s, or the one that its key has already.

        *safe* says whether to run it twice does no harm, so a run that a crash interrupted is run again. Raises
        ApiError 400 for a key that is none, 409 for one that stands for another body.
        """
        key = _key_of(scope["headers"])
        if key is None:
            return await respond()
        identity = json.dumps([caller_of(scope).owner, scope["path"], key])
        name = hashlib.sha256(identity.encode()).hexdigest()
        fingerprint = f"b1:{hashlib.sha256(body).hexdigest()}"
        run = self._runs.get(name)
        if run is not None:
            _check_body(run.fingerprint, fingerprint)
            return _Follower(run, self._settings, replayed=True)
        run = self._runs[name] = _Run(fingerprint)
        try:
            begun = await self._begin(name, fingerprint, safe=safe())
            if isinstance(begun, _RecordedAnswer):
                self._runs.pop(name)
                run.status, run.headers = begun.status, _as_bytes(begun.headers)
                run.pieces = [(begun.body or "").encode()]
                run.end()
                return _Follower(run, self._settings, replayed=True)
        except BaseException as error:
            self._runs.pop(name, None)
            run.end(error if isinstance(error, Exception) else _gone())
            raise
        task = asyncio.create_task(self._run(name, begun, run, scope, respond), name="gaia idempotent request")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._sweep_now_and_then()
        return _Follower(run, self._settings)

    async def aclose(self) -> None:
        """Wait for what is about to end, then stop."""
        tasks = tuple(self._tasks)
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=_CLOSING_SECONDS)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)

    # Beginning.

    async def _begin(self, name: str, fingerprint: str, *, safe: bool) -> int | _RecordedAnswer:
        """The number of the attempt to make the answer, or the answer that there is. Raises ApiError."""
        found = await self._runtime.journal.answer_begin(
            name, fingerprint, self._runtime.replica, max_age=SECONDS, retry=safe
        )
        if found.begun:
            return found.number
        _check_body(found.fingerprint, fingerprint)
        if found.body is not None:
            answer = msgspec.json.decode(found.body, type=_RecordedAnswer)
            if answer.body is None:
                raise _refused("its answer was too long to be kept", status=409)
            return answer
        if found.alive:
            raise _running()
        raise _refused(
            "the server stopped while it ran, and it is unknown whether its tools had an effect; find out, then send "
            "the request with another key",
            status=_FINAL,
        )

    # Running.

    async def _run(self, name: str, number: int, run: _Run, scope: Scope, respond: Respond) -> None:
        """Make the response, keep it, and tell its followers that it is whole; in this order.

        Started by `response` for the first request of a key; cancelled by `aclose` alone, never by a client. Shielded
        from that, the answer is kept, or the key freed.
        """
        error: Exception | None = None
        again = True
        try:
            made = await respond()
            # Its client is nobody: what it writes is taken at once, and nobody goes away.
            apart = cast("Scope", {**scope, "state": {}})
            await made(apart, cast("Receive", _nobody), run.take)
            again = bool(getattr(made, "failed", False)) or not run.status
        except asyncio.CancelledError:
            error = _gone()
            raise
        except Exception as raised:  # noqa: BLE001  # told to those who follow
            error = raised
            reply = of_exception(raised)
            if reply is not None and reply.status == _FINAL and not run.status:
                body = body_of(reply, str(scope["path"]))
                headers = (("content-type", "application/json"), *reply.headers)
                run.status, run.headers, run.pieces = reply.status, _as_bytes(headers), [body]
                again, error = False, None
        finally:
            await asyncio.shield(asyncio.ensure_future(self._keep(number, run, again=again)))
            self._runs.pop(name, None)
            run.end(error)

    async def _keep(self, number: int, run: _Run, *, again: bool) -> None:
        """Record the answer, or free its key when the request may run *again*."""
        journal = self._runtime.journal
        try:
            if again:
                await journal.answer_drop(number)
                return
            body = run.kept
            headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in run.headers)
            text = body.decode("utf-8", "replace") if len(body) <= MAX_ANSWER_BYTES else None
            answer = msgspec.json.encode(_RecordedAnswer(run.status, headers, text))
            if not await journal.answer_put(number, answer):
                _log.warning("the answer of an idempotent request was not kept: another process made it meanwhile")
        except GaiaError as error:
            _log.warning("the answer of an idempotent request can't be kept: %s", error)

    # Retention.

    def _sweep_now_and_then(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEEP_SECONDS
            self._runtime.background.run("gaia idempotency sweep", self.sweep())

    async def sweep(self) -> None:
        """Forget the answers that are older than a day, and the oldest of too many; some in each transaction."""
        journal = self._runtime.journal
        try:
            while await journal.answer_sweep(max_age=SECONDS, keep=MAX_ANSWERS, limit=_SWEPT) == _SWEPT:
                pass
        except GaiaError as error:
            _log.warning("old answers of idempotent requests can't be deleted: %s", error)


class _Follower:
    """The ASGI response of one request: what the run writes, as it comes."""

    def __init__(self, run: _Run, settings: Settings, *, replayed: bool = False) -> None:
        self._run = run
        self._settings = settings
        self._replayed = replayed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_left(receive), name="gaia line")
        try:
            await self._follow(scope, send, gone)
        finally:
            gone.cancel()

    async def _follow(self, scope: Scope, send: Send, gone: "asyncio.Task[None]") -> None:
        run, started, position = self._run, False, 0
        while not gone.done():
            if not started and run.status:
                started = True
                headers = [*run.headers, _REPLAYED] if self._replayed else list(run.headers)
                await send({"type": "http.response.start", "status": run.status, "headers": headers})
            if started and position < len(run.pieces):
                data, position = b"".join(run.pieces[position:]), len(run.pieces)
                if not await self._write(scope, send, data):
                    return
            elif run.over:
                break
            else:
                more = run.more()
                await asyncio.wait((more, gone), return_when=asyncio.FIRST_COMPLETED)
                more.cancel()
        if gone.done():
            return
        if run.error is not None and not started:
            raise run.error
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, scope: Scope, send: Send, data: bytes) -> bool:
        """Send *data*; False for a client that doesn't read it."""
        try:
            async with asyncio.timeout(self._settings.write_seconds):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            if (abort := scope["state"].get(ABORT)) is not None:
                abort()
            return False
        return True


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nobody() -> Message:
    """A client that never goes."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError


def _key_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"idempotency-key":
            key = value.decode("latin-1").strip()
            if _KEY.match(key) is None:
                raise invalid(
                    "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces",
                    param="Idempotency-Key",
                    code="invalid_value",
                )
            return key
    return None


def _check_body(there: str, given: str) -> None:
    if there != given:
        raise ApiError(
            ErrorReply(
                status=409,
                message="this Idempotency-Key stands for a request with another body; use a new key for a new request",
                param="Idempotency-Key",
                code="idempotency_key_reused",
                headers=_NO_RETRY,
            )
        )


def _running() -> ApiError:
    headers = (("retry-after", str(round(_BUSY_SECONDS))),)
    message = "the request of this Idempotency-Key runs in another process; ask again for its answer"
    return ApiError(ErrorReply(status=409, message=message, code="idempotency_key_in_use", headers=headers))


def _refused(words: str, status: int) -> ApiError:
    message = f"the request of this Idempotency-Key can't be answered again: {words}"
    code = "agent_run_failed" if status == _FINAL else "idempotency_key_in_use"
    return ApiError(ErrorReply(status=status, message=message, type=SERVER, code=code, headers=_NO_RETRY))


def _gone() -> ApiError:
    return ApiError(ErrorReply(status=503, message="the server stops", type=SERVER, code="draining"))


def _as_bytes(headers: Iterable[tuple[str, str]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers)
