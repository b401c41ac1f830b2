"""An OpenAI-compatible HTTP endpoint as a model, streamed.

One network read is one batch of deltas. What fails before the first delta is tried again where that can help; after
it, never. Closing the stream closes the connection, so that the endpoint stops working for nobody.
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Literal
from urllib.parse import urlsplit

import attrs
import msgspec

from gaia_core.errors import ConfigError
from gaia_core.events import ModelRetried
from gaia_core.frozen_types import made_once, typed
from gaia_core.models._protocol import Delta, EmbeddingRequest, Embeddings, Input, ModelError, ModelRequest
from gaia_core.models.endpoint._chunk_wire import MAX_LIST_BYTES, error_of, web_page
from gaia_core.models.endpoint._embeddings import embedding_body, embeddings_of
from gaia_core.models.endpoint._model_list import ListedModel, listed_models
from gaia_core.models.endpoint._refused_options import RefusedOptions
from gaia_core.models.endpoint._request_body import SendReasoning, cache_salt, request_body
from gaia_core.models.endpoint._response_reader import ResponseReader, SilenceError, SilenceWatchdog
from gaia_core.models.endpoint._served_context import served_context
from gaia_core.models.endpoint._sse_decoder import MAX_EVENT_BYTES
from gaia_core.models.http._aiohttp_client import AiohttpClient
from gaia_core.models.http._client import (
    ConnectTimeoutError,
    ExchangeError,
    Headers,
    HttpClient,
    HttpResponse,
    Method,
    UnspokenError,
    body_of,
)
from gaia_core.models.http._plain_client import PlainClient
from gaia_core.nesting import decode_json

_MAX_ERROR_BYTES = 64 * 1024
_MAX_BACKOFF_SECONDS = 8.0
_MAX_RETRY_AFTER_SECONDS = 30.0
_DRAIN_SECONDS = 0.05
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MODEL_LIST_SECONDS = 10.0
_CONTEXT_SECONDS = 3.0
_LOADING_PAUSE_SECONDS = 2.0
_COUNT_PATH = "/chat/completions/input_tokens"
_NO_SUCH_ROUTE = frozenset((404, 405, 501))


@attrs.frozen(kw_only=True, field_transformer=typed)
class EndpointConfig:
    """Where a model is, and how patient to be. Seconds, unless said.

    *url* is the base, such as `http://127.0.0.1:8000/api/v1`; *model* the endpoint's name for the model (None: the
    first that it lists); *api_key_env* names the environment variable that holds the key, which is read when a
    request is sent and is in no value, log or error. *send_reasoning*: the field in which the model's reasoning is sent
    back with the calls that it led to, within a turn. *extra* are further members of the request body (JSON text).
    *cache_salt*: each owner's requests are sent with a `cache_salt` of its own, so that the server's prefix cache is
    not shared between owners (vLLM; another server may refuse or ignore it).
    """

    __attrs_pre_init__ = made_once

    url: str = attrs.field(metadata={"secret": True})  # until it is known that it holds no password
    model: str | None = None
    api_key_env: str | None = None
    tool_calls: Literal["native", "prompted"] = "native"
    send_reasoning: SendReasoning = "as_received"
    connect_timeout: float = 5.0
    first_token_timeout: float = 300.0
    silence_timeout: float = 60.0
    retries: int = 2
    backoff: float = 0.5
    extra: str = "{}"
    cache_salt: bool = False

    def __attrs_post_init__(self) -> None:
        if "@" in self.url or "?" in self.url or "#" in self.url:  # not shown: it may hold a key
            raise ConfigError(
                "a url must not hold a key or password, nor ? or #: /chat/completions is appended to it; "
                "name the key's variable in api_key_env"
            )
        if not _names_a_host(self.url):
            raise ConfigError(f"url {self.url!r} must begin with http:// or https:// and name a host")
        try:
            extra = decode_json(self.extra, dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ConfigError(f"extra must be a JSON object of members of the request body: {error}") from None
        if self.cache_salt and "cache_salt" in extra:
            raise ConfigError("extra must not set cache_salt where cache_salt = true: all owners would share it")

    @property
    def base(self) -> str:
        """The URL without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def is_plain(self) -> bool:
        """Whether the endpoint speaks plain HTTP, as servers on this machine and in its network do."""
        return self.url.startswith("http://")

    @property
    def is_loopback(self) -> bool:
        """Whether the endpoint is on this machine."""
        return urlsplit(self.url).hostname in _LOOPBACK


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class Endpoint:
    """See the module's text. Satisfies `Model`; `aclose` closes its connections.

    While the server loads its model, a request waits until `first_token_timeout`; not with *waits* False, when another
    endpoint may be asked meanwhile. *secret*: the key itself, of an endpoint that this process has started; no value,
    log or error holds it. Other keys are in the variable that `api_key_env` names.
    """

    any_task = True

    def __init__(
        self,
        config: EndpointConfig,
        open_client: "Callable[[EndpointConfig], HttpClient] | None" = None,
        *,
        waits: bool = True,
        secret: str | None = None,
    ) -> None:
        self._config = config
        self._own_secret = secret
        self._waits = waits
        self._refused = RefusedOptions(config.base)
        self._open_client = open_client or client_for
        self._clients: list[HttpClient] = []  # the last one is asked
        self._first_listed: str | None = None
        self._first_embedding: str | None = None
        self._inputs: frozenset[Input] | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self._config.url!r}, model={self._config.model!r})"

    @property
    def config(self) -> EndpointConfig:
        """Where it is."""
        return self._config

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        """Answer *request*. Raises ModelError."""
        attempt = retries = 0
        patient_until = asyncio.get_running_loop().time() + self._config.first_token_timeout
        while True:
            sent = dict(self._refused.renamed)
            answering = self._attempt(request)
            begun = False
            try:
                async for batch in answering:
                    begun = True
                    yield batch
                return  # noqa: TRY300  # an answer, whole
            except ModelError as error:
                if begun:
                    raise
                if error.kind == "context_length":
                    error.window = error.window or await self._served_context()
                    raise
                kind, reason = error.kind, str(error)
                if what := self._refused.learn(error, request, sent):
                    delay, reason = 0.0, f"{what}: {error}"
                elif error.kind == "not_ready" and self._waits:
                    delay = error.retry_after or min(_LOADING_PAUSE_SECONDS, self._config.backoff * 2.0**attempt)
                    if asyncio.get_running_loop().time() + delay > patient_until:
                        raise
                elif not error.retryable or retries >= self._config.retries:
                    raise
                else:
                    delay = self._delay(retries, error)
                    retries += 1
            finally:
                await answering.aclose()
            attempt += 1
            yield (ModelRetried(attempt, delay, reason, kind),)
            await asyncio.sleep(delay)

    async def _served_context(self) -> int | None:
        """How many tokens the model's context has, as far as the endpoint says; None when it doesn't, or fails."""
        base = urlsplit(self._config.base)
        root = self._open_client(attrs.evolve(self._config, url=f"{base.scheme}://{base.netloc}"))
        try:
            async with asyncio.timeout(_CONTEXT_SECONDS):
                model = self._config.model or await self._listed_model()
                headers = _headers(self._secret())
                return await served_context(model, await self.listed(), base.path, root, headers)
        except (ExchangeError, TimeoutError, ModelError):
            return None
        finally:
            await root.aclose()

    def _delay(self, attempt: int, error: ModelError) -> float:
        if error.retry_after is not None:
            if error.retry_after > _MAX_RETRY_AFTER_SECONDS:
                raise error
            return error.retry_after
        longest = min(_MAX_BACKOFF_SECONDS, self._config.backoff * 2**attempt)
        return float(longest * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret

    async def _attempt(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        config = self._config
        model = config.model or await self._listed_model()
        secret = self._secret()
        body = request_body(
            request,
            model,
            config.extra,
            self._refused.renamed,
            local=config.is_plain,
            reasoning=config.send_reasoning,
            salt=cache_salt(request.owner, secret) if config.cache_salt else "",
        )
        began = asyncio.get_running_loop().time()
        headers = (*_headers(secret), *request.headers)
        response = await self._post("/chat/completions", headers, body, secret)
        reader = ResponseReader(secret)
        try:
            if "html" in response.headers.get("content-type", ""):
                raise web_page()
            if _is_json(response):
                yield reader.all_at_once(await self._read_all(response, began))
                return
            first, silence = config.first_token_timeout, config.silence_timeout
            with SilenceWatchdog(response.fail, began=began, first=first, silence=silence) as watch:
                while data := await response.arriving():
                    batch = reader.feed(data)
                    watch.heard(deltas=bool(batch))
                    if batch:
                        yield batch
                        watch.released()
                    if reader.done:
                        await _drained(response)
                        break
        except (ExchangeError, SilenceError, TimeoutError) as error:
            if not reader.whole:
                raise _unfinished(error, config) from None
        finally:
            response.close()  # an endpoint that still generates must notice
        yield reader.end()

    async def _post(self, path: str, headers: Headers, body: bytes, secret: str | None) -> HttpResponse:
        config = self._config
        try:
            async with asyncio.timeout(config.first_token_timeout):
                response = await self._send("POST", path, headers, body)
        except ConnectTimeoutError:
            words = f"no connection to {config.base} within {config.connect_timeout:g} s"
            raise ModelError("connect", words, retryable=True) from None
        except TimeoutError:
            raise ModelError("timeout", f"{config.base} sent nothing for {config.first_token_timeout:g} s") from None
        except ExchangeError as error:
            words = f"the model's endpoint {config.base} can't be reached: {error}"
            raise ModelError("connect", words, retryable=True) from None
        if response.status == 200:
            return response
        try:
            async with asyncio.timeout(config.silence_timeout):
                words_of_error = await body_of(response, _MAX_ERROR_BYTES)
        except (ExchangeError, TimeoutError):
            words_of_error = b""
        finally:
            response.close()
        if response.status == 404:
            self._first_listed = self._first_embedding = self._inputs = None
        raise error_of(response.status, words_of_error, response.headers, secret)

    async def _send(self, method: Method, path: str, headers: Headers, body: bytes = b"") -> HttpResponse:
        if not self._clients:
            self._clients.append(self._open_client(self._config))
        try:
            return await self._clients[-1].send(method, path, headers, body)
        except UnspokenError:  # from now on use the client that speaks it; requests on the other one continue
            self._clients.append(_any_client(self._config))
            return await self._clients[-1].send(method, path, headers, body)

    async def _read_all(self, response: HttpResponse, began: float) -> bytes:
        async with asyncio.timeout_at(began + self._config.first_token_timeout):
            body = await body_of(response, MAX_EVENT_BYTES + 1)
        if len(body) > MAX_EVENT_BYTES:
            raise ModelError("broken_stream", f"the endpoint sent an answer of more than {MAX_EVENT_BYTES} bytes")
        return body

    def _secret(self) -> str | None:
        name = self._config.api_key_env
        if name is None:
            return self._own_secret
        if not (secret := os.environ.get(name, "").strip()):
            raise ModelError("auth", f"the environment variable {name}, which holds the model's key, is not set")
        if not secret.isascii() or not secret.isprintable():
            raise ModelError("auth", f"the environment variable {name} holds something that is no key; set it anew")
        return secret

    async def aclose(self) -> None:
        """Close the connections."""
        clients, self._clients = self._clients, []
        async with AsyncExitStack() as stack:  # each, also when another fails
            for client in clients:
                stack.push_async_callback(client.aclose)

    # What the endpoint has.

    async def models(self, timeout: float = _MODEL_LIST_SECONDS) -> tuple[str, ...]:
        """The ids that GET /models lists. Raises ModelError."""
        return tuple(listed.id for listed in await self.listed(timeout))

    async def inputs(self) -> frozenset[Input]:
        """What the model takes beside text, as far as the endpoint says. Raises ModelError."""
        if self._inputs is None:
            model = self._config.model or await self._listed_model()
            said = [listed.inputs for listed in await self.listed() if listed.id == model]
            self._inputs = frozenset().union(*said)
        return self._inputs

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """The vectors of *request*. Raises ModelError."""
        model = self._config.model or await self._embedding_model()
        began = asyncio.get_running_loop().time()
        secret = self._secret()
        response = await self._post("/embeddings", _headers(secret), embedding_body(request, model), secret)
        try:
            return embeddings_of(await self._read_all(response, began), request)
        except (ExchangeError, TimeoutError) as error:
            raise _unfinished(error, self._config) from None
        finally:
            response.close()

    async def count(self, request: ModelRequest) -> int | None:
        """How many tokens the prompt of *request* has, by the endpoint's own template and tokenizer; None when it
        doesn't count (llama.cpp's server does). Raises ModelError."""
        config = self._config
        model = config.model or await self._listed_model()
        body = request_body(
            request, model, config.extra, self._refused.renamed, local=config.is_plain, reasoning=config.send_reasoning
        )
        secret = self._secret()
        began = asyncio.get_running_loop().time()
        try:
            response = await self._post(_COUNT_PATH, _headers(secret), body, secret)
        except ModelError as error:
            if error.status in _NO_SUCH_ROUTE:
                return None
            raise
        try:
            return _counted(await self._read_all(response, began))
        except (ExchangeError, TimeoutError) as error:
            raise _unfinished(error, config) from None
        finally:
            response.close()

    async def listed(self, timeout: float = _MODEL_LIST_SECONDS) -> tuple[ListedModel, ...]:
        """What GET /models lists. Raises ModelError."""
        secret = self._secret()
        try:
            async with asyncio.timeout(timeout):
                response = await self._send("GET", "/models", _headers(secret))
                try:
                    body = await body_of(response, MAX_LIST_BYTES)
                finally:
                    response.close()
            if response.status != 200:
                raise error_of(response.status, body, response.headers, secret)
            return listed_models(body)
        except (ExchangeError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            words = f"the model's endpoint {self._config.base} can't be reached: {why}"
            raise ModelError("connect", words, retryable=True) from None
        except (msgspec.DecodeError, UnicodeError):
            raise ModelError("bad_request", f"{self._config.base}/models answered something else than models") from None

    async def alive(self, timeout: float = 1.0) -> bool:
        """Whether the endpoint answers."""
        with suppress(ModelError):
            await self.models(timeout)
            return True
        return False

    async def _listed_model(self) -> str:
        """The first listed one that chats."""
        if self._first_listed is None:
            listed = await self.listed()
            chats = [each.id for each in listed if each.chats]
            if not chats:
                others = f" but {', '.join(each.id for each in listed)}, which can't chat" if listed else ""
                raise ModelError("not_found", f"{self._config.base} lists no model{others}; load one there")
            self._first_listed = chats[0]
        return self._first_listed

    async def _embedding_model(self) -> str:
        """The first listed one that makes vectors; where none says so, the first one."""
        if self._first_embedding is None:
            listed = await self.listed()
            if not listed:
                raise ModelError("not_found", f"{self._config.base} lists no model; load one there")
            self._first_embedding = next((each.id for each in listed if each.embeds), listed[0].id)
        return self._first_embedding


class _Count(msgspec.Struct):
    input_tokens: int


def _counted(body: bytes) -> int | None:
    """The number in *body*; None for an endpoint that answers any path with something."""
    try:
        return decode_json(body, _Count).input_tokens
    except (msgspec.DecodeError, UnicodeError):
        return None


def client_for(config: EndpointConfig) -> HttpClient:
    """The quickest client that can reach the endpoint."""
    parts = urlsplit(config.url)
    host = parts.hostname or ""
    plain = parts.scheme == "http" and host.isascii() and "%" not in host
    if plain and (config.is_loopback or not _by_proxy(host)):
        return PlainClient(config.base, connect_timeout=config.connect_timeout)
    return _any_client(config)


def _any_client(config: EndpointConfig) -> HttpClient:
    return AiohttpClient(config.base, connect_timeout=config.connect_timeout, proxies=not config.is_loopback)


def _by_proxy(host: str) -> bool:
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415  # imports much, and loopback needs none

    return "http" in getproxies() and not proxy_bypass(host)


def _headers(secret: str | None) -> Headers:
    headers = (("content-type", "application/json"), ("accept", "text/event-stream"))
    return headers if secret is None else (*headers, ("authorization", f"Bearer {secret}"))


async def _drained(response: HttpResponse) -> None:
    """Read what stands between `[DONE]` and the end of the body, so that the connection can be used again."""
    if response.ended:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await response.arriving():
                pass


def _is_json(response: HttpResponse) -> bool:
    media = response.headers.get("content-type", "")
    return "json" in media and "event-stream" not in media


def _unfinished(error: Exception, config: EndpointConfig) -> ModelError:
    if isinstance(error, SilenceError):
        return ModelError("timeout", f"{config.base} sent {error}")
    if isinstance(error, TimeoutError):
        return ModelError("timeout", f"{config.base} sent no whole answer for {config.first_token_timeout:g} s")
    return ModelError("broken_stream", f"the answer of {config.base} broke off: {error}", retryable=True)
