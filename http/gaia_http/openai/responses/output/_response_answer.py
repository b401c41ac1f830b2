"""The ASGI responses of a response: streamed as it comes, or in one piece when it is done."""

from collections.abc import Sequence
from contextlib import aclosing

from litestar.types import Receive, Scope, Send

from gaia_core.events import ErrorInfo, Event
from gaia_core.turn import Turn
from gaia_http._errors import ApiError, ErrorReply, encoded
from gaia_http._json_response import send_json
from gaia_http._settings import Settings
from gaia_http.openai.responses._request_state import UNKNOWN, Begun
from gaia_http.openai.responses.output._response_events import ResponseEvents, Told
from gaia_http.openai.responses.output._response_object import failure_of
from gaia_http.openai.responses.stored._stored_responses import ResponseStore, StoredResponse
from gaia_http.operations._metrics import HttpCounts
from gaia_http.streaming._disconnect import completed
from gaia_http.streaming._followed_turn import AnyTurn
from gaia_http.streaming._sse_response import SSEResponse
from gaia_http.streaming._sse_writer import Headers

_DONE = b"data: [DONE]\n\n"
STOPS = ErrorInfo("cancelled", "the server stops")


def framed(told: Sequence[Told]) -> bytes:
    """Events as server-sent events, in one piece."""
    return b"".join([b"event: %b\ndata: %b\n\n" % (kind.encode(), data) for kind, data in told])


def headers_of(begun: Begun) -> Headers:
    """The session that the client named, echoed; and what of its tools was left out."""
    if begun.session_id is None:
        return begun.ignored
    return ((b"x-session-id", begun.session_id.encode()), *begun.ignored)


def live_stream(begun: Begun, settings: Settings, counts: HttpCounts) -> SSEResponse[Sequence[Event]]:
    """The response that streams *begun*. If its client disconnects, its turn is cancelled, unless in background."""
    output = ResponseEvents(begun.ref, begun.note)
    return SSEResponse(
        begun.ref.id,
        begun.batches(),
        _ResponseTranslator(output, goes_on=begun.note.background, turn=begun.turn),
        settings,
        counts,
        headers=headers_of(begun),
        first=framed(output.begin()) if begun.note.background else None,
        cancel=begun.cancel if begun.owned else None,
    )


def stored_stream(
    store: ResponseStore, stored: StoredResponse, after: int, settings: Settings, counts: HttpCounts
) -> SSEResponse[Sequence[Event]]:
    """The response that streams a stored one from its event after *after* on. Nothing depends on its client."""
    output = ResponseEvents(stored.ref, stored.note, after=after)
    source = store.batches(stored.owner, stored.ref)
    return SSEResponse(stored.ref.id, source, _ResponseTranslator(output, goes_on=True), settings, counts, first=b"")


class _ResponseTranslator:
    """Events → server-sent events of a response. *goes_on*: when this process stops, another one continues it. *turn*:
    the response's own."""

    def __init__(self, output: ResponseEvents, *, goes_on: bool, turn: AnyTurn | None = None) -> None:
        self._output = output
        self._goes_on = goes_on
        self._turn = turn

    @property
    def done(self) -> bool:
        """See `Translator`."""
        return self._output.done

    @property
    def failure(self) -> ErrorReply | None:
        """See `Translator`."""
        return self._output.failure

    def take(self, batch: Sequence[Event]) -> bytes:
        """See `Translator`."""
        told = framed(self._output.take(batch))
        return told + _DONE if self._output.done else told

    def interrupted(self) -> bytes:
        """See `Translator`: this process stops, or another continues the turn, or its end can't be recorded."""
        if self._goes_on:
            return b""
        output = self._output
        if isinstance(self._turn, Turn) and not self._turn.suspended:
            return framed(output.unknown(UNKNOWN)) + _DONE
        return framed(output.fail(failure_of(STOPS, tools_ran=output.tools_ran))) + _DONE


class WholeResponse:
    """Answers with *begun* when it is done; at once when it is in background."""

    def __init__(self, begun: Begun) -> None:
        self._begun = begun

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        begun = self._begun
        output = ResponseEvents(begun.ref, begun.note)
        if begun.note.background:
            await send_json(send, encoded(output.queued), headers_of(begun))
            return
        if not await self._ended(output, receive):
            return
        if output.failure is not None:
            raise ApiError(output.failure)
        await send_json(send, encoded(output.response), headers_of(begun))

    async def _ended(self, output: ResponseEvents, receive: Receive) -> bool:
        """Wait until the response is done; True when its client is still connected."""
        begun = self._begun

        async def cancel() -> None:
            if not output.done:
                await begun.cancel()

        try:
            there = await completed(_fold(begun, output), receive, cancel)
        finally:
            await cancel()
        if not output.done:
            begun.check_stopped()
            output.fail(failure_of(STOPS, tools_ran=output.tools_ran))
        return there


async def _fold(begun: Begun, output: ResponseEvents) -> None:
    """Give *output* the events of *begun*, until it is done."""
    async with aclosing(begun.batches()) as batches:
        async for batch in batches:
            output.take(batch)
            output.forget()
            if output.done:
                return
