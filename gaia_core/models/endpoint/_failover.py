"""A model at several endpoints, or at one that may be down: who is asked, and who next when that one fails.

A conversation prefers one endpoint (rendezvous hashing of its key), where its prefix is cached; when an endpoint is
added or lost, only the conversations that it wins or had move. The next endpoint is asked only before the first
delta: half an answer is never begun again. Each endpoint has a circuit breaker, so that a dead one costs nobody's
time, and a model whose endpoints are all dead fails at once and says when they are tried again.

Not every failure is the endpoint's. One that can't be reached, is silent or breaks off counts at once; a 5xx or a 404
counts when another endpoint answers the same request (a request that breaks each of them must not shut them all). What
a request itself may have caused (a 5xx, a stream that breaks off) counts once per session. A 429 is no failure, and the
next endpoint is asked; a 400, a context that is too long or a refused key is the request's or the configuration's, and
no other endpoint is asked.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TypeVar

import attrs

from gaia_core.errors import ConfigError
from gaia_core.events import ModelRetried
from gaia_core.frozen_types import made_once, typed
from gaia_core.models._prompted_tools import PromptedTools
from gaia_core.models._protocol import (
    Delta,
    EmbeddingRequest,
    Embeddings,
    EndpointLoad,
    Input,
    Model,
    ModelError,
    ModelRequest,
)
from gaia_core.models.endpoint._circuit_breaker import Admission, Breaker
from gaia_core.models.endpoint._endpoint import Endpoint, EndpointConfig

T = TypeVar("T")

_DEAD = frozenset({"connect", "timeout", "broken_stream"})
_FAILING = frozenset({"overloaded", "server", "not_ready", "not_found"})
_ELSEWHERE = frozenset((*_DEAD, *_FAILING, "rate_limited"))
_MAX_BACKOFF_SECONDS = 8.0
_MAX_RETRY_AFTER_SECONDS = 30.0
_LOADING_PAUSE_SECONDS = 2.0


@attrs.frozen(field_transformer=typed)
class OpenEndpoints:
    """Opens the model at *configs*; nothing is connected yet. A value: equal configurations make equal catalogs."""

    __attrs_pre_init__ = made_once

    configs: tuple[EndpointConfig, ...]

    def __call__(self) -> Model:
        model = Failover(self.configs)
        return PromptedTools(model) if self.configs[0].tool_calls == "prompted" else model


class _Seat:
    """An endpoint with its breaker."""

    __slots__ = ("breaker", "endpoint", "running", "url")

    def __init__(self, config: EndpointConfig, breaker: Breaker, *, waits: bool) -> None:
        self.endpoint = Endpoint(config, waits=waits)
        self.breaker = breaker
        self.url = config.base
        self.running = 0

    @property
    def words(self) -> str:
        """Why it is not asked now."""
        times = f"failed {self.breaker.failures} times in a row"
        return f"{times} and is tried again in {self.breaker.retry_after:.1f} s"


class _Tried:
    """What came of asking one endpoint without an answer."""

    __slots__ = ("admission", "error", "seat")

    def __init__(self, seat: _Seat, admission: Admission, error: ModelError) -> None:
        self.seat = seat
        self.admission = admission
        self.error = error


class Failover:
    """See the module's text. Satisfies `Model`; `aclose` closes all connections.

    A single endpoint tries again by itself, as its configuration says. Several are asked one after the other, and
    only when all have failed and that can help, again after a delay, `retries` times (of the first configuration).
    """

    any_task = True

    def __init__(self, configs: Sequence[EndpointConfig], *, clock: Callable[[], float] = time.monotonic) -> None:
        if not configs:
            raise ConfigError("a model needs at least one endpoint: give its url")
        urls = [config.base for config in configs]
        for url in urls:
            if urls.count(url) > 1:
                raise ConfigError(f"the endpoint {url} is named twice; name each once")
        several = len(configs) > 1
        self._rounds = configs[0].retries + 1 if several else 1
        self._backoff = configs[0].backoff
        self._patience = configs[0].first_token_timeout if several else 0.0
        """Seconds to wait while endpoints load their model; a single endpoint waits itself."""
        self._seats = tuple(
            _Seat(attrs.evolve(config, retries=0) if several else config, Breaker(clock=clock), waits=not several)
            for config in configs
        )

    def __repr__(self) -> str:
        return f"Failover({', '.join(seat.url for seat in self._seats)})"

    @property
    def endpoints(self) -> tuple[EndpointLoad, ...]:
        """How the endpoints are, in the order of the configuration."""
        return tuple(
            EndpointLoad(seat.url, seat.breaker.state, seat.breaker.failures, seat.running, seat.breaker.retry_after)
            for seat in self._seats
        )

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        """See `Model`. Raises ModelError, which names the endpoints that were tried."""
        seats = self._preferred(request.session_key)
        tried: list[_Tried] = []
        patient_until = asyncio.get_running_loop().time() + self._patience
        round_ = 0
        while True:
            before = len(tried)
            for seat in seats:
                if (admission := seat.breaker.admit()) is None:
                    continue
                attempt = _Attempt(seat, admission)
                failed = tried[-1].error if len(tried) > before else None
                said = ModelRetried(len(tried), 0.0, str(failed), failed.kind) if failed is not None else None
                async with aclosing(attempt.stream(request, said)) as answering:
                    async for batch in answering:
                        yield batch
                if attempt.error is None:
                    _blame(tried, request.session_key)
                    return
                tried.append(_Tried(seat, admission, attempt.error))
            delay = self._delay(round_, tried[before:])
            if delay is None:
                break
            last = tried[-1].error
            if any(one.error.kind == "not_ready" for one in tried[before:]) and self._patience:
                delay = min(delay, _LOADING_PAUSE_SECONDS)
                if asyncio.get_running_loop().time() + delay > patient_until:
                    break
            elif round_ + 1 >= self._rounds:
                break
            round_ += 1
            yield (ModelRetried(len(tried), delay, str(last), last.kind),)
            await asyncio.sleep(delay)
        raise self._failure(seats, tried)

    def _delay(self, round_: int, tried: list[_Tried]) -> float | None:
        """Seconds until all are asked again; None when that can't help."""
        again = [one.error for one in tried if one.error.retryable]
        if not again:
            return None
        named = [error.retry_after for error in again if error.retry_after is not None]
        if len(named) == len(again):
            return min(named) if min(named) <= _MAX_RETRY_AFTER_SECONDS else None
        longest = min(_MAX_BACKOFF_SECONDS, self._backoff * 2**round_)
        return float(longest * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret

    def _preferred(self, session_key: str) -> list[_Seat]:
        """The endpoints, the best one for that conversation first; for no conversation, the least busy one."""
        if len(self._seats) == 1 or not session_key:
            return sorted(self._seats, key=lambda seat: seat.running)
        return sorted(self._seats, key=lambda seat: _weight(session_key, seat.url), reverse=True)

    def _failure(self, seats: list[_Seat], tried: list[_Tried]) -> ModelError:
        if len(self._seats) == 1 and tried:
            one = tried[0].error  # told anew: raised from where it is kept, it and the frames would keep each other
            return ModelError(
                one.kind,
                str(one),
                retryable=one.retryable,
                retry_after=one.retry_after,
                status=one.status,
                window=one.window,
                prompt_tokens=one.prompt_tokens,
            )
        last = {one.seat.url: one.error for one in tried}
        shut = [seat for seat in seats if seat.url not in last]
        words = [f"{url}: {error}" for url, error in last.items()]
        words += [f"{seat.url}: not asked, because it {seat.words}" for seat in shut]
        error = tried[-1].error if tried else None
        after = min(max(seat.breaker.retry_after, _named(last.get(seat.url))) for seat in seats)
        return ModelError(
            error.kind if error is not None else "not_ready",
            f"no endpoint of the model answered; {'; '.join(words)}",
            retryable=error is None or any(one.error.retryable for one in tried),
            retry_after=max(0.1, round(after, 1)) if after else None,
            status=error.status if error is not None else None,
        )

    async def inputs(self) -> frozenset[Input]:
        """What the model takes beside text, by the first endpoint that says it. Raises ModelError."""
        return await self._first(lambda endpoint: endpoint.inputs())

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """The vectors of *request*, by the first endpoint that gives them. Raises ModelError."""
        return await self._first(lambda endpoint: endpoint.embed(request))

    async def count(self, request: ModelRequest) -> int | None:
        """The tokens of the prompt, by the first endpoint that answers. Raises ModelError."""
        return await self._first(lambda endpoint: endpoint.count(request))

    async def _first(self, ask: Callable[[Endpoint], Awaitable[T]]) -> T:
        """What the first endpoint says that answers; the least busy one is asked first."""
        tried: list[_Tried] = []
        seats = self._preferred("")
        for seat in seats:
            if (admission := seat.breaker.admit()) is None:
                continue
            seat.running += 1
            try:
                answer = await ask(seat.endpoint)
                seat.breaker.answered(admission)
                return answer  # noqa: TRY300
            except ModelError as error:
                if error.kind in _DEAD:
                    seat.breaker.failed(admission)
                if error.kind not in _ELSEWHERE:
                    seat.breaker.answers(admission)
                    raise
                tried.append(_Tried(seat, admission, error))
            finally:
                seat.running -= 1
                seat.breaker.untold(admission)
        raise self._failure(seats, tried)

    async def aclose(self) -> None:
        """Close the connections to all endpoints."""
        async with AsyncExitStack() as stack:  # each, also when another fails
            for seat in self._seats:
                stack.push_async_callback(seat.endpoint.aclose)


class _Attempt:
    """One request at one endpoint. *error* says why another may be asked; what must not be repeated is raised."""

    __slots__ = ("_admission", "_seat", "error")

    def __init__(self, seat: _Seat, admission: Admission) -> None:
        self._seat = seat
        self._admission = admission
        self.error: ModelError | None = None

    async def stream(self, request: ModelRequest, said: ModelRetried | None) -> AsyncGenerator[tuple[Delta, ...], None]:
        """The endpoint's answer, after *said*; the outcome is reported to the circuit breaker in every case."""
        seat, admission, breaker = self._seat, self._admission, self._seat.breaker
        begun = False
        seat.running += 1
        try:
            if said is not None:
                yield (said,)
            async with aclosing(seat.endpoint.stream(request)) as answering:
                async for batch in answering:
                    if not begun and not isinstance(batch[0], ModelRetried):
                        begun = True
                        breaker.answers(admission)
                    yield batch
            breaker.answered(admission)
        except ModelError as error:
            if error.kind in _DEAD:
                breaker.failed(admission, request.session_key if error.kind == "broken_stream" else "")
            elif error.kind not in _FAILING:
                breaker.answers(admission)  # by an error, but it is there
            if begun or error.kind not in _ELSEWHERE:
                raise
            self.error = error.with_traceback(None)  # its frames would keep it alive
        finally:
            seat.running -= 1
            breaker.untold(admission)


def _blame(tried: list[_Tried], session: str) -> None:
    """Another endpoint answered what these could not: it was not the request."""
    for one in tried:
        if one.error.kind in _FAILING:
            one.seat.breaker.failed(one.admission, session)


def _named(error: ModelError | None) -> float:
    return error.retry_after or 0.0 if error is not None else 0.0


def _weight(session_key: str, url: str) -> bytes:
    return hashlib.blake2b(f"{session_key}\0{url}".encode(), digest_size=8).digest()
