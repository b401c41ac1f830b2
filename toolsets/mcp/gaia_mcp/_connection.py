"""Connection: one server. It connects, lists the server's tools, watches the connection, and reconnects after its end.

A task of its own holds the SDK's client, so that callers may be cancelled. A failure ends one call where that is
possible, else this connection, and never another one; it is reported to the model (ToolError) and to the operator (the
log, `problem`), with the server's own message where there is one.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any, Self

import attrs
import mcp_types
from mcp.client import Client, ClientRequestContext, IncomingMessage
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter, ValidationError

from gaia_core import ConfigError, Context, Recipe, ToolError, ToolOutput, Toolset
from gaia_core.background_tasks import BackgroundTasks
from gaia_mcp._calls import ServerCall, ServerCalls, answered
from gaia_mcp._connection_protocol import Send
from gaia_mcp._elicitation import elicited, sampled
from gaia_mcp._failure_text import misfit, said, words_of
from gaia_mcp._http_transport import RefusalRecord, http
from gaia_mcp._listed_tools import ListedTools, toolset_of
from gaia_mcp._listing_repair import RepairedListings
from gaia_mcp._result_text import output_of
from gaia_mcp._secret_references import SecretMask, resolved
from gaia_mcp._server_config import McpServerConfig
from gaia_mcp._stdio_transport import Allowance, ServerExit, stdio

_log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a server that went away is connected again: doubled with each failure, from the first on."""

_LIVED_SECONDS = 30.0
_WAIT_SECONDS = 15.0
_PROBE_SECONDS = 10.0
_SETTLE_SECONDS = 0.2
_PAGES = 100
_TERMINATED, _CLOSED = "Session terminated", "Connection closed"
"""The SDK's own words for a session that the server forgot, and for a connection that closed.

They decide beside the code, because the SDK gives nothing else: both are plain MCPErrors, and a server may answer a
call with the same codes (-32600, and -32000, which is JSON-RPC's first code for errors of servers). The SDK tells its
own from a server's by the identity of a private object (source: mcp/shared/jsonrpc_dispatcher.py, `_CLOSED_OUTCOME`).
"""

_CHANGES = (
    mcp_types.ToolListChangedNotification,
    mcp_types.ResourceListChangedNotification,
    mcp_types.PromptListChangedNotification,
)


class _GoneError(Exception):
    """The connection ended in the middle of a call. *untouched*: the server never began with it."""

    def __init__(self, reason: str, *, untouched: bool = False) -> None:
        super().__init__(reason)
        self.untouched = untouched


class Connection:
    """See the module's text. It is a `Live`, and what the tools of its server work on.

    The *keeper* is the task of `_keep`. `__aenter__` starts it and `__aexit__` cancels it; between the two it connects
    again after each end. It is restarted when it fails by an error that `_once` doesn't take for the connection's end.
    All runs on one event loop, except `toolset_of`, which gets values of its own.
    """

    def __init__(self, server: McpServerConfig, recipe: Recipe) -> None:
        self.server = server
        self._recipe = recipe
        self._calls = ServerCalls()
        self._closing = False
        """Set by `__aexit__`: the keeper doesn't connect again."""
        self._client: Client | None = None
        """Set by the keeper when the tools are listed, reset by it when the connection has ended. Calls read it in
        `_ready`, and keep it until they end."""
        self._ended: ServerExit = ServerExit()
        """How the present connection ended. A new one for each connection, by the keeper; set by whichever task
        notices the end."""
        self._answers = RefusalRecord()
        """What the server refused on the present connection. Replaced together with `_ended`."""
        self._hidden = SecretMask()
        """The secrets of the present connection. Replaced by the keeper before it connects."""
        self._listings: RepairedListings | None = None
        """What arrives on the present connection. Replaced by the keeper when it connects; read in `_ask_for_tools`."""
        self._listed: ListedTools | None = None
        """Written by the keeper and by `_follow`, which runs only while the keeper waits in `_stay`."""
        self._fault = "is being connected"
        """The last failure; "" when there is none. Written by the same two."""
        self._changed: Callable[[], None] = lambda: None
        """Set by `watch`; called in the keeper's task or in that of `_follow`, after the change."""
        self._tried = asyncio.Event()
        """Set by the keeper after its first attempt, successful or not; `__aenter__` waits for it."""
        self._up = asyncio.Event()
        """Set by the keeper when it is connected; cleared by it, or by a call in `_ready` that is the first to see
        the end. Set by `__aexit__` for good, so that no call waits."""
        self._stale = asyncio.Event()
        """The tools have changed. Set by the SDK's message handler and by `_listen`, cleared by `_follow`."""
        self._heard = 0
        """Counts messages and answers of the server. Written by the message handler and by calls; only compared."""
        self._background = BackgroundTasks(FIRST_PAUSE)
        """The keeper and the probe. `__aexit__` cancels both and waits for them."""
        self._probing: asyncio.Task[None] | None = None
        """The last probe; one at a time. Started by `_probe` from a call that was cancelled."""
        self._result: TypeAdapter[Any] = TypeAdapter(mcp_types.CallToolResult | mcp_types.InputRequiredResult)

    async def __aenter__(self) -> Self:
        self._background.keep(f"mcp {self.server.name}", self._keep)
        try:
            await self._tried.wait()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._closing = True
        try:
            await self._background.aclose()
        finally:
            # The keeper was cancelled, wherever it was: calls that wait or come later are told, not left waiting.
            self._client = None
            self._fault = "the connection is closed"
            self._up.set()
            self._ended.set(self._fault)

    # What a `Live` says.

    @property
    def toolset(self) -> Toolset | None:
        """The tools as they were listed last."""
        return self._listed.toolset if self._listed is not None else None

    @property
    def connected(self) -> bool:
        """Whether calls can be made now."""
        return self._client is not None

    @property
    def problem(self) -> str:
        """What is wrong with it, for the operator."""
        left_out = self._listed.problems if self._listed is not None else ()
        return "; ".join(part for part in (self._fault, *left_out) if part)

    def watch(self, changed: Callable[[], None]) -> None:
        """See `Live`."""
        self._changed = changed

    # Keeping it up.

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            reason = self._hidden(await self._once())
            lived = self._client is not None
            self._client = None
            self._up.clear()
            self._fault = reason
            if lived and loop.time() - began >= _LIVED_SECONDS:
                failures = 0
            pause = min(FIRST_PAUSE * 2**failures, LONGEST_PAUSE)
            failures = min(failures + 1, 16)
            _log.warning("the MCP server %s: %s; it is tried again in %g s", self.server.name, reason, pause)
            self._tried.set()
            self._changed()
            if self._closing:
                return
            await asyncio.sleep(pause)

    async def _once(self) -> str:
        """Connect, and stay; why it ended."""
        server, ended = self.server, ServerExit()
        self._ended, self._answers = ended, RefusalRecord()
        client: Client | None = None
        try:
            async with asyncio.timeout(server.connect_seconds) as clock, self._opened(ended) as client:
                self._listed = await self._ask_for_tools(client)
                clock.reschedule(None)
                # One step: a call that `_up` wakes finds the client.
                self._client, self._fault = client, ""
                self._up.set()
                self._tried.set()
                self._changed()
                await self._stay(client, ended)
        except TimeoutError:
            if not clock.expired():
                raise
            return f"it did not list its tools within {server.connect_seconds:g} s (connect_seconds)"
        except Exception as error:  # noqa: BLE001  # whatever a transport raises is why it ended
            return ended.reason or words_of(error, server, self._answers)
        return ended.reason or "the connection was closed"

    @asynccontextmanager
    async def _opened(self, ended: ServerExit) -> AsyncIterator[Client]:
        server = self.server
        given, self._hidden = resolved(server.env or server.headers, os.environ)
        transport = self._repaired(
            stdio(server, given, self._hidden, ended) if server.command else http(server, given, self._answers)
        )
        allowance = Allowance(server.max_messages)

        async def hear(message: IncomingMessage) -> None:
            self._heard += 1
            if isinstance(message, _CHANGES):
                self._stale.set()
            if not allowance.spend():
                ended.set(f"it sent more than {server.max_messages} messages a second by itself")

        async with Client(
            transport,
            client_info=mcp_types.Implementation(name="gaia", version=version("gaia-toolset-mcp")),
            message_handler=hear,
            elicitation_callback=self._elicit,
            sampling_callback=self._sample if server.sampling else None,
            cache=None,
        ) as client:
            yield client

    @asynccontextmanager
    async def _repaired(self, transport: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        """The streams of *transport*, with listings that the SDK takes."""
        async with transport as (incoming, outgoing, *_):
            self._listings = RepairedListings(incoming)
            yield self._listings, outgoing

    async def _stay(self, client: Client, ended: ServerExit) -> None:
        """List the tools again when they have changed, until the connection ends."""
        # Both end with the connection: cancelled and awaited below, so that neither writes after the keeper has.
        listening = asyncio.create_task(self._listen(client), name=f"mcp {self.server.name} changes")
        listing = asyncio.create_task(self._follow(client), name=f"mcp {self.server.name} tools")
        try:
            await ended.event.wait()
        finally:
            listening.cancel()
            listing.cancel()
            await asyncio.wait((listening, listing))

    async def _listen(self, client: Client) -> None:
        """Changes as the protocol tells them since 2026-07-28: on a stream that has to be asked for."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or tools is None or not tools.list_changed:
            return
        pause = FIRST_PAUSE
        while True:
            with suppress(Exception):  # lost: it is asked for again, and what changed meanwhile is listed
                async with client.listen(tools_list_changed=True) as changes:
                    self._stale.set()
                    async for _ in changes:
                        self._stale.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _follow(self, client: Client) -> None:
        """List the tools whenever they are said to have changed; several changes at once are one."""
        while True:
            await self._stale.wait()
            await asyncio.sleep(_SETTLE_SECONDS)
            # Before the listing: a change that comes while it is awaited is listed in the next round.
            self._stale.clear()
            try:
                async with asyncio.timeout(self.server.connect_seconds):
                    listed = await self._ask_for_tools(client)
            except Exception as error:  # noqa: BLE001  # the old list stays
                self._fault = f"its changed tools could not be listed: {words_of(error, self.server, self._answers)}"
                _log.warning("the MCP server %s: %s", self.server.name, self._fault)
                self._changed()
                continue
            self._fault = ""
            if listed != self._listed:
                _log.info("the MCP server %s lists other tools: %s", self.server.name, listed.toolset)
            self._listed = listed
            self._changed()

    async def _ask_for_tools(self, client: Client) -> ListedTools:
        """What it lists, and what it says of itself."""
        tools: list[mcp_types.Tool] = []
        cursor: str | None = None
        left_out: tuple[str, ...] = ()
        for _ in range(_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += page.tools
            left_out += self._listings.take() if self._listings is not None else ()
            cursor = page.next_cursor
            if not cursor or len(tools) > self.server.max_tools:
                break
        if cursor or len(tools) > self.server.max_tools:
            raise ConfigError(f"it lists more than {self.server.max_tools} tools (max_tools)")
        can = client.server_capabilities
        listed = await asyncio.to_thread(
            toolset_of,
            self.server,
            self._recipe,
            tools,
            instructions=client.instructions or "",
            resources=can.resources is not None and await _any(client.list_resources, client.list_resource_templates),
            prompts=can.prompts is not None and await _any(client.list_prompts),
        )
        return attrs.evolve(listed, problems=(*left_out, *listed.problems))

    # Calls.

    async def call_tool(self, ctx: Context[Any], name: str, arguments: dict[str, Any]) -> str | ToolOutput:
        """The result of the server's tool *name*. Raises ToolError."""

        async def send(client: Client, call: ServerCall, responses: Any, state: str | None) -> Any:
            params = mcp_types.CallToolRequestParams(
                name=name, arguments=arguments, input_responses=responses, request_state=state
            )
            request = mcp_types.CallToolRequest(params=params)
            return await client.session.send_request(request, self._result, progress_callback=call.progress)

        output = output_of(await self.call(ctx, send))
        return output if output.images else output.text

    async def call(self, ctx: Context[Any], send: Send) -> Any:
        """What *send* gives, as a call of *ctx*. Raises ToolError."""
        name = self.server.name
        for _ in range(2):
            # Both are of the same connection: `_ready` awaits nothing after its last check.
            client, ended = await self._ready(), self._ended
            try:
                return await self._calls.run(ctx, lambda call: self._sent(client, ended, call, send))  # noqa: B023
            except _GoneError as error:
                if error.untouched:
                    continue
                raise ToolError(
                    f"the server {name} disconnected during the call: {error}. It is unknown whether the call had an "
                    "effect. The server is being reconnected"
                ) from None
        raise ToolError(f"the server {name} closed the connection twice before it accepted the call; try again later")

    async def _sent(self, client: Client, ended: ServerExit, call: ServerCall, send: Send) -> Any:
        heard = self._heard
        try:
            result = await answered(
                lambda responses, state: send(client, call, responses, state),
                lambda request: self._answer(call, request),
            )
        except asyncio.CancelledError:
            # The only call, and nothing was heard since it was sent. The probe is a task of its own: this one is being
            # cancelled.
            if len(self._calls) == 1 and self._heard == heard:
                self._probe(client, ended)
            raise
        except MCPError as error:
            if error.code == mcp_types.INVALID_REQUEST and error.message == _TERMINATED:
                ended.set("it has forgotten this session")
                raise _GoneError(ended.reason, untouched=True) from None
            if error.code == mcp_types.CONNECTION_CLOSED and error.message == _CLOSED:
                # *ended* is this call's connection; `self._ended` may be a later one by now.
                ended.set("the connection was closed")
                raise _GoneError(self._hidden(ended.reason)) from None
            raise ToolError(said(error, self._answers)) from None
        except ValidationError as error:
            raise ToolError(f"the server's answer doesn't fit the protocol ({misfit(error)})") from None
        self._heard += 1
        return result

    async def _ready(self) -> Client:
        if self._ended.event.is_set() and not self._closing:
            self._up.clear()  # the task that holds the client reconnects
        if not self._up.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_WAIT_SECONDS):
                    await self._up.wait()
        # Checked again: the connection may have ended between the event and this step.
        if self._client is None or self._ended.event.is_set():
            raise ToolError(f"the server {self.server.name} is not connected: {self._fault or self._ended.reason}")
        return self._client

    def _probe(self, client: Client, ended: ServerExit) -> None:
        """A call was given up and nothing was heard since it began: find out whether anything is still alive there."""

        async def probe() -> None:
            try:
                async with asyncio.timeout(_PROBE_SECONDS):
                    await client.session.list_tools()
            except TimeoutError:
                if not len(self._calls):
                    ended.set(f"it hangs: it did not answer within {_PROBE_SECONDS:g} s")
            except Exception as error:  # noqa: BLE001  # an answer, of a kind
                _log.debug("the MCP server %s: %s", self.server.name, error)

        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(probe(), name=f"mcp {self.server.name} probe")
            self._background.hold(self._probing)

    # What the server asks.

    async def _answer(self, call: ServerCall, request: Any) -> Any:
        """The answer to what a call has to know first."""
        if isinstance(request, mcp_types.ElicitRequest):
            return await call.ask(lambda ctx: elicited(ctx, self.server.name, request.params))
        if isinstance(request, mcp_types.CreateMessageRequest) and self.server.sampling:
            given = await call.ask(lambda ctx: sampled(ctx, self.server.name, self.server.sampling, request.params))
            if not isinstance(given, mcp_types.ErrorData):
                return given
            raise ToolError(given.message)
        raise ToolError(f"the server {self.server.name} asks for what it is not given here ({request.method})")

    async def _elicit(
        self,
        context: ClientRequestContext,  # noqa: ARG002  # the SDK passes it by name
        params: mcp_types.ElicitRequestParams,
    ) -> mcp_types.ElicitResult | mcp_types.ErrorData:
        call = self._asker("the user")
        if call is None:
            return mcp_types.ElicitResult(action="cancel")
        found: mcp_types.ElicitResult = await call.ask(lambda ctx: elicited(ctx, self.server.name, params))
        return found

    async def _sample(
        self,
        context: ClientRequestContext,  # noqa: ARG002
        params: mcp_types.CreateMessageRequestParams,
    ) -> mcp_types.CreateMessageResult | mcp_types.ErrorData:
        call = self._asker("a model")
        if call is None:
            words = "it can't be told for which call this is asked"
            return mcp_types.ErrorData(code=mcp_types.INVALID_REQUEST, message=words)
        found: mcp_types.CreateMessageResult | mcp_types.ErrorData = await call.ask(
            lambda ctx: sampled(ctx, self.server.name, self.server.sampling, params)
        )
        return found

    def _asker(self, whom: str) -> ServerCall | None:
        call = self._calls.asker()
        if call is None:
            _log.warning(
                "the MCP server %s asks %s, and it can't be told for which session: none was asked. "
                "Set per_session = true for it",
                self.server.name,
                whom,
            )
        return call


async def _any(*lists: Callable[[], Awaitable[Any]]) -> bool:
    """Whether one of *lists* has something: many servers say that they have what they haven't."""
    for each in lists:
        with suppress(MCPError):
            found = await each()
            kinds = ("resources", "resource_templates", "prompts")
            if any(getattr(found, kind, None) for kind in kinds):
                return True
    return False
