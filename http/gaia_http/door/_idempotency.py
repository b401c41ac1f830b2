"""`Idempotency-Key`: the same request again gets the same answer, and runs nothing again.

    return await idempotency.response(request.scope, body, respond)   # respond: the KeyedTurn -> the ASGI response

A request is identified by its caller, its path and its key, for 24 hours (`Retention.answer_hours`); the same key with
another body gets a 409. A second request that comes while the first runs follows its answer as it is written, streams
too. The run doesn't depend on its client: it continues when that disconnects, because a client with a key fetches the
answer later.

The run's turn is recorded (`KeyedTurn`), so it doesn't depend on its process either. A retry that another process gets
attaches to the turn, wherever it runs, and makes the answer from its events; a turn that was never begun is begun then.

The answer is kept in the journal, named by a hash of the three. It survives the process if the journal does, and
processes that share a journal share it. A run that ended without effect, and that a client may send again (429, 5xx),
leaves nothing.
"""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import cast

import attrs
import msgspec
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gaia_core import GaiaError, NotFoundError, Runtime
from gaia_core.facts import Ended
from gaia_core.fingerprint import fingerprint_of
from gaia_http._errors import SERVER, ApiError, ErrorReply, invalid, of_exception
from gaia_http._settings import Settings
from gaia_http.door._caller import caller_of
from gaia_http.door._envelope import body_of
from gaia_http.door._keyed_turn import KEYED, AnswerKeptError, KeyedTurn
from gaia_http.streaming._disconnect import task_completed
from gaia_http.streaming._sse_response import SSEResponse, Verbatim
from gaia_http.streaming._sse_writer import ABORT, HEARTBEAT, PING

_log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 8_000_000

_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_NO_ANSWER = ("failed", "cancelled", "limit")
_CLOSING_SECONDS = 5.0
_NO_RETRY = (("x-should-retry", "false"),)
_REPLAYED = (b"idempotent-replayed", b"true")

Respond = Callable[[KeyedTurn | None], Awaitable[ASGIApp]]
"""Begins the response; with a `KeyedTurn`, on that turn, which may have been begun before. None: there is no key."""


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
        """The body without the heartbeats that kept its line open."""
        return b"".join(piece for piece in self.pieces if piece not in (HEARTBEAT, PING))

    async def take(self, message: Message) -> None:
        """What the response sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = tuple(message["headers"])
        elif message["type"] == "http.response.body" and message.get("body"):
            self.pieces.append(message["body"])
        self.wake()

    def end(self, error: Exception | None = None) -> None:
        """It is whole, or *error* ends it where it is."""
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


@attrs.frozen
class _AnswerAttempt:
    """An attempt to make the answer: its *number* in the journal, and its *turn*. *new*: this process begins it."""

    number: int
    turn: KeyedTurn
    new: bool


class Idempotency:
    """Belongs to one application."""

    def __init__(self, runtime: Runtime, settings: Settings) -> None:
        self._runtime = runtime
        self._settings = settings
        # All of these are written on the event loop. A run is in _runs from before its journal entry is begun until
        # after it is kept, so that a request of this process follows it and never sees it half kept.
        self._runs: dict[str, _Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def response(self, scope: Scope, body: bytes, respond: Respond) -> ASGIApp:
        """The response to the request: *respond*'s, or the one that its key has already.

        Raises ApiError 400 for a key that is none, 409 for one that stands for another body.
        """
        key = _key_of(scope["headers"])
        if key is None:
            return await respond(None)
        owner = caller_of(scope).owner
        identity = json.dumps([owner, scope["path"], key])
        name = hashlib.sha256(identity.encode()).hexdigest()
        fingerprint = fingerprint_of("b1", body)
        run = self._runs.get(name)
        if run is not None:
            _check_body(run.fingerprint, fingerprint)
            return _Follower(run, self._settings, replayed=True)
        run = self._runs[name] = _Run(fingerprint)
        try:
            begun = await self._begin(name, fingerprint, owner)
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

    async def _begin(self, name: str, fingerprint: str, owner: str) -> _AnswerAttempt | _RecordedAnswer:
        """The attempt to make the answer, new or another process's, or the answer that there is. Raises ApiError."""
        found = await self._runtime.journal.answer_begin(
            name,
            fingerprint,
            self._runtime.replica,
            owner=owner,
            max_age=self._runtime.catalog.retention.answer_seconds,
        )

        async def confirm() -> None:
            if isinstance(await self._begin(name, fingerprint, owner), _RecordedAnswer):
                raise AnswerKeptError("the request was answered meanwhile")

        attempt = _AnswerAttempt(found.number, KeyedTurn(name, found.number, confirm), found.begun)
        if found.begun:
            return attempt
        _check_body(found.fingerprint, fingerprint)
        if found.body is not None:
            answer = msgspec.json.decode(found.body, type=_RecordedAnswer)
            if answer.body is None:
                raise _too_long()
            return answer
        return attempt

    # Running.

    async def _run(self, name: str, attempt: _AnswerAttempt, run: _Run, scope: Scope, respond: Respond) -> None:
        """Make the response, keep it, and tell its followers that it is whole; in this order.

        Started by `response` for the first request of a key; cancelled by `aclose` alone, never by a client. Shielded
        from that, the answer is kept, or the key freed.
        """
        error: Exception | None = None
        failed = again = True
        owner = caller_of(scope).owner
        try:
            made = await respond(attempt.turn)
            # Its client is nobody: what it writes is taken at once, and nobody goes away.
            apart = cast("Scope", {**scope, "state": {}})
            await made(apart, cast("Receive", _nobody), run.take)
            failure: ErrorReply | None = getattr(made, "failure", None)
            failed = failure is not None or not run.status
            again = failure is None or failure.may_retry
        except asyncio.CancelledError:
            error = _gone()
            raise
        except Exception as raised:  # noqa: BLE001  # told to those who follow
            error = raised
            reply = of_exception(raised)
            if not run.kept and (kept := await self._kept(name, run, owner)) is not None:
                # Another process has made the answer meanwhile, and erased the record of the turn: even a 404 is none.
                run.status, run.headers = kept.status, _as_bytes(kept.headers)
                run.pieces.append((kept.body or "").encode())
                failed, error = False, None
            elif reply is not None and not reply.may_retry and not run.status:
                body = body_of(reply, scope)
                headers = (("content-type", "application/json"), *reply.headers)
                run.status, run.headers, run.pieces = reply.status, _as_bytes(headers), [body]
                again, error = False, None
        finally:
            await asyncio.shield(asyncio.ensure_future(self._settle(owner, attempt, run, failed=failed, again=again)))
            self._runs.pop(name, None)
            run.end(error)

    async def _settle(self, owner: str, attempt: _AnswerAttempt, run: _Run, *, failed: bool, again: bool) -> None:
        """Record the answer; or, where it *failed*, free its key if the request may run *again*. An attempt whose turn
        continues is left as it is: a retry attaches to it."""
        try:
            if failed and await self._continues(owner, attempt):
                return
            if failed and again:
                await self._runtime.journal.answer_drop(attempt.number)
            else:
                await self._keep(attempt.number, run)
        except GaiaError as error:
            _log.warning("the answer of an idempotent request can't be kept: %s", error)
            return
        if attempt.turn.recorded_in == attempt.turn.session:
            self._runtime.background.run("gaia idempotent record", self._erase(owner, attempt.turn.session))

    async def _kept(self, name: str, run: _Run, owner: str) -> _RecordedAnswer | None:
        """The answer that the journal has by now, if it has one."""
        try:
            found = await self._begin(name, run.fingerprint, owner)
        except Exception:  # noqa: BLE001  # its followers receive the error that led here
            return None
        return found if isinstance(found, _RecordedAnswer) else None

    async def _continues(self, owner: str, attempt: _AnswerAttempt) -> bool:
        """Whether the turn has an answer, or may get one: it is recorded and has not failed, or is another process's to
        begin."""
        if (session := attempt.turn.recorded_in) is None:
            return not attempt.new
        facts = await self._runtime.sessions.facts_of_turn(owner, session, attempt.turn.id)
        if not facts:
            return not attempt.new
        last = facts[-1][1]
        return not (isinstance(last, Ended) and last.status in _NO_ANSWER)

    async def _erase(self, owner: str, session: str) -> None:
        """Erase the session that was made for a turn, unless it is more than that."""
        try:
            if (await self._runtime.sessions.get(owner, session)).surface == KEYED:
                await self._runtime.sessions.delete(owner, session)
        except NotFoundError:
            return
        except GaiaError as error:
            _log.warning("the record of an idempotent request can't be erased: %s", error)

    async def _keep(self, number: int, run: _Run) -> None:
        """Record the answer."""
        body = run.kept
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in run.headers)
        text = body.decode("utf-8", "replace") if len(body) <= MAX_ANSWER_BYTES else None
        answer = msgspec.json.encode(_RecordedAnswer(run.status, headers, text))
        if not await self._runtime.journal.answer_put(number, answer):
            _log.info(
                "the answer of an idempotent request was not kept: another process has kept its own, or it is old"
            )


class _Follower:
    """The ASGI response of one request: what the run writes, as it comes."""

    def __init__(self, run: _Run, settings: Settings, *, replayed: bool = False) -> None:
        self._run = run
        self._settings = settings
        self._replayed = replayed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        run = self._run
        if not run.status and not run.over:
            begun = asyncio.create_task(_begun(run), name="gaia idempotent begin")
            if not await task_completed(begun, receive):
                return
        if not run.status:
            raise run.error or _gone()
        headers = (*run.headers, _REPLAYED) if self._replayed else run.headers
        stream = SSEResponse(
            "an idempotent request",
            _pieces(run, scope["state"].get(ABORT)),
            Verbatim(),
            self._settings,
            None,  # the run counts its own stream
            head=(run.status, headers),
            first=b"",
        )
        await stream(scope, receive, send)


async def _begun(run: _Run) -> None:
    """Return when *run* has a status, or is over without one."""
    while not run.status and not run.over:
        await run.more()


async def _pieces(run: _Run, abort: Callable[[], None] | None) -> AsyncGenerator[bytes, None]:
    """What *run* has written and writes, until it is over. What came together is one piece. If it ends by an error, the
    connection is closed by *abort*, because a client would take an end for the whole answer."""
    position = 0
    while True:
        if position < len(run.pieces):
            data, position = b"".join(run.pieces[position:]), len(run.pieces)
            yield data
        elif run.over:
            if run.error is not None and abort is not None:
                abort()
            return
        else:
            await run.more()


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


def _too_long() -> ApiError:
    message = "the request of this Idempotency-Key can't be answered again: its answer was too long to be kept"
    return ApiError(
        ErrorReply(status=409, message=message, type=SERVER, code="idempotency_key_in_use", headers=_NO_RETRY)
    )


def _gone() -> ApiError:
    return ApiError(ErrorReply(status=503, message="the server stops", type=SERVER, code="draining"))


def _as_bytes(headers: Iterable[tuple[str, str]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers)
