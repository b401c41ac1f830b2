"""An OpenAI-compatible HTTP endpoint as a model, streamed over aiohttp.

One network read is one batch of deltas. What fails before the first delta is tried again where that can help; after
it, never. Closing the stream closes the connection, so that the endpoint stops working for nobody.
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

import attrs
import msgspec

from gaia_core.errors import ConfigError
from gaia_core.events import ModelRetried
from gaia_core.messages import Usage, wire_bytes
from gaia_core.models._protocol import Delta, Finished, ModelError, ModelRequest
from gaia_core.models._sse import EventTooLargeError, SSEDecoder
from gaia_core.models._wire import (
    Chunk,
    decode_chunk,
    deltas_of,
    error_of,
    finish_of,
    stream_error,
    usage_of,
)

if TYPE_CHECKING:
    import aiohttp

_ENCODE = msgspec.json.Encoder().encode
_MAX_ERROR_BYTES = 64 * 1024
_MAX_BACKOFF_SECONDS = 8.0
_MAX_RETRY_AFTER_SECONDS = 30.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MODEL_LIST_SECONDS = 10.0


@attrs.frozen(kw_only=True)
class EndpointConfig:
    """Where a model is, and how patient to be. Seconds, unless said.

    *url* is the base, such as `http://127.0.0.1:8000/api/v1`; *model* the endpoint's name for the model (None: the
    first that it lists); *api_key_env* names the environment variable that holds the key, which is read when a
    request is sent and is in no value, log or error. *extra* are further members of the request body (JSON text).
    """

    url: str
    model: str | None = None
    api_key_env: str | None = None
    tool_calls: Literal["native", "prompted"] = "native"
    connect_timeout: float = 5.0
    first_token_timeout: float = 300.0
    silence_timeout: float = 60.0
    retries: int = 2
    backoff: float = 0.5
    extra: str = "{}"

    def __attrs_post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"url {self.url!r} must begin with http:// or https:// and name a host")
        if parts.username or parts.password:
            raise ConfigError("a url must not hold a key or password; name its variable in api_key_env")

    @property
    def base(self) -> str:
        """The URL without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def is_loopback(self) -> bool:
        """Whether the endpoint is on this machine."""
        return urlsplit(self.url).hostname in _LOOPBACK


class Endpoint:
    """See the module's text. Satisfies `Model`; `aclose` closes its connections."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._session: aiohttp.ClientSession | None = None
        self._first_listed: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self._config.url!r}, model={self._config.model!r})"

    @property
    def config(self) -> EndpointConfig:
        """Where it is."""
        return self._config

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        """Answer *request*. Raises ModelError."""
        attempt = 0
        while True:
            answering = self._attempt(request)
            begun = False
            try:
                async for batch in answering:
                    begun = True
                    yield batch
                return  # noqa: TRY300  # an answer, whole
            except ModelError as error:
                if begun or not error.retryable or attempt >= self._config.retries:
                    raise
                delay = self._delay(attempt, error)
                reason = str(error)
            finally:
                await answering.aclose()
            attempt += 1
            yield (ModelRetried(attempt, delay, reason),)
            await asyncio.sleep(delay)

    def _delay(self, attempt: int, error: ModelError) -> float:
        if error.retry_after is not None:
            if error.retry_after > _MAX_RETRY_AFTER_SECONDS:
                raise error
            return error.retry_after
        longest = min(_MAX_BACKOFF_SECONDS, self._config.backoff * 2**attempt)
        return float(longest * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret

    async def _attempt(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        body = self._body(request, self._config.model or await self._listed_model())
        response = await self._post(body)
        try:
            reader = _Reader(self._secret())
            if "json" in response.headers.get("content-type", "") and "event-stream" not in response.headers.get(
                "content-type", ""
            ):
                yield reader.whole(await self._read_all(response))
                return
            with _Watch(response.content, self._config) as watch:
                async for data in response.content.iter_any():
                    watch.touch()
                    if batch := reader.feed(data):
                        yield batch
                    if reader.done:
                        break
            yield reader.end()
        except _silences() as error:
            raise _unfinished(error, self._config) from None
        finally:
            # Closed, not released: an endpoint that still generates must notice. A response that was read to its
            # end has given its connection back already.
            response.close()

    async def _post(self, body: bytes) -> "aiohttp.ClientResponse":
        import aiohttp  # noqa: PLC0415  # see _open

        config = self._config
        session = self._open()
        try:
            async with asyncio.timeout(config.first_token_timeout):
                response = await session.post(f"{config.base}/chat/completions", data=body, headers=self._headers())
        except (aiohttp.ConnectionTimeoutError, TimeoutError) as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                words = f"no connection to {config.base} within {config.connect_timeout:g} s"
                raise ModelError("connect", words, retryable=True) from None
            raise ModelError("timeout", f"{config.base} sent nothing for {config.first_token_timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            words = f"the model's endpoint {config.base} can't be reached: {type(error).__name__}"
            raise ModelError("connect", words, retryable=True) from None
        if response.status == 200:
            return response
        try:
            async with asyncio.timeout(config.silence_timeout):
                words_of_error = await response.content.read(_MAX_ERROR_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError):
            words_of_error = b""
        finally:
            response.close()
        if response.status == 404:
            self._first_listed = None
        raise error_of(response.status, words_of_error, response.headers, self._secret())

    async def _read_all(self, response: "aiohttp.ClientResponse") -> bytes:
        async with asyncio.timeout(self._config.first_token_timeout):
            return await response.read()

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        if secret := self._secret():
            headers["authorization"] = f"Bearer {secret}"
        return headers

    def _secret(self) -> str | None:
        name = self._config.api_key_env
        if name is None:
            return None
        if not (secret := os.environ.get(name)):
            raise ModelError("auth", f"the environment variable {name}, which holds the model's key, is not set")
        return secret

    def _open(self) -> "aiohttp.ClientSession":
        if self._session is None:
            import aiohttp  # noqa: PLC0415  # takes 100 ms to import, and only who opens an endpoint needs it

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._config.connect_timeout),
                trust_env=not self._config.is_loopback,
                read_bufsize=2**18,
            )
        return self._session

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # What the endpoint has.

    async def models(self, timeout: float = _MODEL_LIST_SECONDS) -> tuple[str, ...]:
        """The ids that GET /models lists. Raises ModelError."""
        import aiohttp  # noqa: PLC0415  # see _open

        try:
            async with (
                asyncio.timeout(timeout),
                self._open().get(f"{self._config.base}/models", headers=self._headers()) as response,
            ):
                body = await response.content.read(2**20)
                if response.status != 200:
                    raise error_of(response.status, body, response.headers, self._secret())
                listed = msgspec.json.decode(body, type=_ModelList)
                return tuple(entry.id for entry in listed.data)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            words = f"the model's endpoint {self._config.base} can't be reached: {type(error).__name__}"
            raise ModelError("connect", words, retryable=True) from None
        except msgspec.DecodeError:
            raise ModelError("bad_request", f"{self._config.base}/models answered something else than models") from None

    async def alive(self, timeout: float = 1.0) -> bool:
        """Whether the endpoint answers."""
        with suppress(ModelError):
            await self.models(timeout)
            return True
        return False

    async def _listed_model(self) -> str:
        if self._first_listed is None:
            listed = await self.models()
            if not listed:
                raise ModelError("not_found", f"{self._config.base} lists no model; load one there")
            self._first_listed = listed[0]
        return self._first_listed

    # What is sent.

    def _body(self, request: ModelRequest, model: str) -> bytes:
        members: dict[str, Any] = {
            "model": model,
            "messages": msgspec.Raw(b"[%b]" % b",".join(request.encoded or map(wire_bytes, request.messages))),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        sampling = request.sampling
        for name in sampling.__struct_fields__:
            if (value := getattr(sampling, name)) is not None:
                members[name] = dict(value) if name == "logit_bias" else value
        if request.tools:
            members["tools"] = msgspec.Raw(b"[%b]" % b",".join([tool.encoded for tool in request.tools]))
            choice = request.tool_choice
            if choice.name is not None:
                members["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
            elif choice.mode != "auto":
                members["tool_choice"] = choice.mode
            if request.parallel_tool_calls is not None:
                members["parallel_tool_calls"] = request.parallel_tool_calls
        if (form := request.response_format) is not None:
            members["response_format"] = {"type": form.type}
            if form.type == "json_schema":
                schema: dict[str, Any] = {"name": form.name, "schema": msgspec.Raw(form.schema)}
                members["response_format"]["json_schema"] = (
                    schema if form.strict is None else {**schema, "strict": form.strict}
                )
        if self._config.extra != "{}":
            members |= msgspec.json.decode(self._config.extra)
        return _ENCODE(members)


class _ListedModel(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    data: list[_ListedModel]


class _Reader:
    """Folds an endpoint's bytes into batches of deltas, and knows whether the answer had an end."""

    def __init__(self, secret: str | None) -> None:
        self._secret = secret
        self._events = SSEDecoder()
        self._usage: Usage | None = None
        self._finish: str | None = None
        self._called = False
        self.done = False

    def feed(self, data: bytes) -> tuple[Delta, ...]:
        """The deltas that *data* completes."""
        try:
            events = self._events.feed(data)
        except EventTooLargeError as error:
            raise ModelError("broken_stream", f"the endpoint sent {error}") from None
        return self._deltas(events)

    def _deltas(self, events: list[bytes]) -> tuple[Delta, ...]:
        deltas: list[Delta] = []
        for event in events:
            if event == b"[DONE]":
                self.done = True
                break
            self._take(decode_chunk(event), deltas)
        return tuple(deltas)

    def _take(self, chunk: Chunk, deltas: list[Delta]) -> None:
        if chunk.error is not None:
            raise stream_error(chunk.error, self._secret)
        if chunk.usage is not None:
            self._usage = usage_of(chunk.usage)
        for choice in chunk.choices or ():
            message = choice.delta or choice.message
            if message is not None:
                deltas_of(message, deltas)
                self._called = self._called or bool(message.tool_calls)
            if choice.finish_reason:
                self._finish = choice.finish_reason
            return  # one choice is asked for

    def whole(self, body: bytes) -> tuple[Delta, ...]:
        """The answer of an endpoint that does not stream."""
        deltas: list[Delta] = []
        self._take(decode_chunk(body), deltas)
        return (*deltas, *self.end())

    def end(self) -> tuple[Delta, ...]:
        """What was left, and the end. Raises ModelError("broken_stream") when the answer had none."""
        rest = self._deltas(self._events.end())
        if self._finish is None and not self.done:
            raise ModelError("broken_stream", "the endpoint's answer broke off before its end")
        return (*rest, Finished(finish_of(self._finish or "stop", called=self._called), self._usage))


class _SilenceError(Exception):
    """The endpoint said nothing for too long."""


class _Watch:
    """Ends a read that waits too long; touching it costs less than a time-out around each read."""

    def __init__(self, content: "aiohttp.StreamReader", config: EndpointConfig) -> None:
        self._content = content
        self._loop = asyncio.get_running_loop()
        self._limit = config.first_token_timeout
        self._silence = config.silence_timeout
        self._heard = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._look()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def touch(self) -> None:
        """Something was heard."""
        self._heard = self._loop.time()
        if self._limit is not self._silence:
            self._limit = self._silence
            if self._timer is not None:
                self._timer.cancel()
            self._look()

    def _look(self) -> None:
        left = self._heard + self._limit - self._loop.time()
        if left <= 0:
            self._content.set_exception(_SilenceError(f"{self._limit:g}"))
        else:
            self._timer = self._loop.call_later(left, self._look)


def _silences() -> tuple[type[Exception], ...]:
    import aiohttp  # noqa: PLC0415  # see Endpoint._open

    return (_SilenceError, aiohttp.ClientError, OSError, TimeoutError)


def _unfinished(error: Exception, config: EndpointConfig) -> ModelError:
    if isinstance(error, _SilenceError | TimeoutError):
        return ModelError("timeout", f"{config.base} sent nothing for {str(error) or config.first_token_timeout} s")
    return ModelError("broken_stream", f"the answer of {config.base} broke off: {type(error).__name__}", retryable=True)
