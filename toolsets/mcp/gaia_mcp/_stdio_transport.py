"""A server's process and its two pipes: the SDK's stdio transport, within bounds.

The program is started from a list of words, never by a shell, in a process group of its own, with the few variables
that any program needs (`child_environ`) and those that the configuration gives. A line longer than the bound is skipped
as it comes, so that it costs neither memory nor the other sessions' time, and the call that it would answer fails. A
server that says more than it may by itself loses its connection. What it writes on stderr goes to the log, and its last
lines into the words about its end.
"""

import asyncio
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from gaia_core import NestingError
from gaia_core.child_environ import child_environ
from gaia_core.nesting import check_nesting
from gaia_core.uninterrupted import uninterrupted
from gaia_mcp._secret_references import SecretMask
from gaia_mcp._server_config import McpServerConfig

_log = logging.getLogger("gaia_mcp.server")

_CHUNK = 65_536
_GRACE_SECONDS = 1.5
_LAST_LINES = 5
_LINE_CHARS = 500
_BURST = 10
_ENDLESS = 50
_ID = re.compile(rb'"id"\s*:\s*("(?:[^"\\]|\\.){1,200}"|-?\d{1,18})')
_KEPT_OF_SKIPPED = 512

Item = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Item], MemoryObjectSendStream[SessionMessage]]


class ServerExit:
    """Why a connection ended; "" while it hasn't.

    The first task that notices sets it: one of the pipes', the message handler's, a call's or the probe's. The reason
    isn't replaced later. The connection's keeper waits for *event*, and closes the transport.
    """

    __slots__ = ("event", "reason")

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """The connection has ended."""
        self.reason = self.reason or reason
        self.event.set()


class Allowance:
    """A token bucket for a server's unsolicited messages: *rate* a second, and a burst of ten times that."""

    __slots__ = ("_left", "_rate", "_seen")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._left = float(_BURST * rate)
        """Messages that may still come. Written by `spend`, from the one task that counts with it; `_seen` as well."""
        self._seen = asyncio.get_running_loop().time()

    def spend(self) -> bool:
        """Whether one more is allowed."""
        now = asyncio.get_running_loop().time()
        self._left = min(float(_BURST * self._rate), self._left + (now - self._seen) * self._rate)
        self._seen = now
        self._left -= 1
        return self._left >= 0


@asynccontextmanager
async def stdio(
    server: McpServerConfig, env: dict[str, str], hidden: SecretMask, ended: ServerExit
) -> AsyncIterator[Streams]:
    """The streams to a new process of *server*, which ends with them. Raises OSError when it can't be started."""
    process = await asyncio.create_subprocess_exec(
        *server.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environ(os.environ, given=env),
        cwd=server.cwd,
        start_new_session=True,
        limit=_CHUNK,
    )
    incoming_send, incoming = anyio.create_memory_object_stream[Item](0)
    outgoing, outgoing_receive = anyio.create_memory_object_stream[SessionMessage](0)
    # The last lines of stderr: written by `_listen`, read by `_read` when the process has ended.
    said: list[str] = []
    # One task for each pipe. They end with their pipe, or `_wind_down` cancels and awaits them. `_read` says in *ended*
    # why it ended; a failed write shows as the end of stdout.
    listening = asyncio.create_task(_listen(server, process, hidden, said), name=f"mcp {server.name} stderr")
    tasks = (
        asyncio.create_task(
            _read(server, process, incoming_send, listening, said, ended), name=f"mcp {server.name} stdout"
        ),
        asyncio.create_task(_write(process, outgoing_receive), name=f"mcp {server.name} stdin"),
        listening,
    )
    try:
        yield incoming, outgoing
    finally:
        # Against the SDK's cancel scopes; `uninterrupted` is against asyncio's own cancellation.
        with anyio.CancelScope(shield=True):
            await uninterrupted(_wind_down(process, tasks))
            for stream in (incoming, incoming_send, outgoing, outgoing_receive):
                stream.close()


async def _wind_down(process: asyncio.subprocess.Process, tasks: "tuple[asyncio.Task[None], ...]") -> None:
    # First, so that what the process writes at its end is still read.
    await _stop(process)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s failed", task.get_name(), exc_info=error)
    _close_transport(process)


async def _read(
    server: McpServerConfig,
    process: asyncio.subprocess.Process,
    incoming: MemoryObjectSendStream[Item],
    listening: "asyncio.Task[None]",
    said: list[str],
    ended: ServerExit,
) -> None:
    """Lines of stdout → messages, until it ends. *listening* fills *said*."""
    assert process.stdout is not None
    allowance = Allowance(server.max_messages)
    lines = _LineSplitter(server.max_bytes)
    try:
        async with incoming:
            while chunk := await process.stdout.read(_CHUNK):
                for line in lines.feed(chunk):
                    message = _message(server, line)
                    by_itself = not isinstance(message, mcp_types.JSONRPCResponse | mcp_types.JSONRPCError)
                    if by_itself and not allowance.spend():
                        ended.set(f"it sent more than {server.max_messages} messages a second by itself")
                        return
                    if message is not None:
                        # Waits for the SDK, whose session takes one message at a time: so the server's pipe fills up
                        # instead of our memory.
                        await incoming.send(SessionMessage(message))
                if lines.size > _ENDLESS * server.max_bytes:
                    ended.set(f"it sent a line without end (more than {_ENDLESS} times max_bytes)")
                    return
            with suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_SECONDS):
                    await process.wait()
                    # Its last words may still be in the pipe.
                    await asyncio.wait((listening,))
            ended.set(_death(process.returncode, said))
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # the session is gone
    except (OSError, ValueError) as error:
        ended.set(f"its output could not be read ({error})")


class _LineSplitter:
    """Bytes → lines; of a line over the bound only its beginning and its end are kept."""

    __slots__ = ("_most", "_parts", "_tail", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[bytes] = []
        self.size = 0
        self._tail = b""

    def feed(self, chunk: bytes) -> "list[bytes | _TooLong]":
        """The lines that *chunk* ends."""
        found: list[bytes | _TooLong] = []
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            self._add(part)
            found.append(self._line())
        self._add(rest)
        return found

    def _add(self, part: bytes) -> None:
        if not part:
            return
        self.size += len(part)
        if self.size <= self._most:
            self._parts.append(part)
            return
        self._tail = (self._tail + part)[-_KEPT_OF_SKIPPED:]

    def _line(self) -> "bytes | _TooLong":
        size, parts = self.size, self._parts
        self.size, self._parts = 0, []
        if size <= self._most:
            return b"".join(parts)
        begin = b"".join(parts[:1])[:_KEPT_OF_SKIPPED]
        tail, self._tail = self._tail, b""
        return _TooLong(size, begin, tail)


class _TooLong:
    """What is kept of a line that was too long."""

    __slots__ = ("begin", "size", "tail")

    def __init__(self, size: int, begin: bytes, tail: bytes) -> None:
        self.size = size
        self.begin = begin
        self.tail = tail


def _message(server: McpServerConfig, line: "bytes | _TooLong") -> mcp_types.JSONRPCMessage | None:
    """The message of *line*; None for what is none, which a careless server prints on stdout."""
    if isinstance(line, _TooLong):
        words = f"the answer has {line.size} bytes; at most {server.max_bytes} are taken (max_bytes)"
        return _refusal(server, line.begin, line.tail, words)
    if not line.strip():
        return None
    try:
        return mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        try:
            check_nesting(line)  # the SDK's decoder stops at a limit too, and the call has to get an error
        except NestingError as error:
            return _refusal(server, line[:_KEPT_OF_SKIPPED], line[-_KEPT_OF_SKIPPED:], f"the answer is {error}")
        _log.warning("%s: wrote a line that is no message (%d bytes)", server.name, len(line))
        return None


def _refusal(server: McpServerConfig, begin: bytes, tail: bytes, words: str) -> mcp_types.JSONRPCMessage | None:
    """The error that replaces an answer that is not accepted. The id is at the beginning or end of the line (*begin*,
    *tail*)."""
    _log.warning("%s: %s", server.name, words)
    match = _ID.search(begin) if b'"method"' not in begin else None
    match = match or (None if b'"method"' in begin else _last(tail))
    if match is None:
        return None
    given = match[1]
    request_id: int | str = given[1:-1].decode("utf-8", "replace") if given.startswith(b'"') else int(given)
    error = mcp_types.ErrorData(code=mcp_types.INTERNAL_ERROR, message=words)
    return mcp_types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error)


def _last(tail: bytes) -> "re.Match[bytes] | None":
    match = None
    for found in _ID.finditer(tail):
        match = found
    return match


async def _write(process: asyncio.subprocess.Process, outgoing: MemoryObjectReceiveStream[SessionMessage]) -> None:
    """Messages → lines of stdin."""
    assert process.stdin is not None
    with suppress(OSError, anyio.ClosedResourceError, anyio.BrokenResourceError):
        async with outgoing:
            async for item in outgoing:
                data = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(data.encode() + b"\n")
                # Waits while the server doesn't read; `_wind_down` cancels it then.
                await process.stdin.drain()


async def _listen(
    server: McpServerConfig, process: asyncio.subprocess.Process, hidden: SecretMask, said: list[str]
) -> None:
    """Lines of stderr → the log (level debug: a server may write much), the last of them kept.

    What fails on the way is logged, and the pipe is read on: a server that can't write its stderr would hang.
    """
    assert process.stderr is not None
    rest = b""
    failed = False
    while chunk := await process.stderr.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[-_LINE_CHARS:]
        try:
            for line in lines[-_LAST_LINES:]:
                if text := hidden(line[-_LINE_CHARS:].decode("utf-8", "replace").strip()):
                    _log.debug("%s: %s", server.name, text)
                    said.append(text)
        except Exception:  # noqa: BLE001  # whatever fails, the pipe has to be read on
            if not failed:
                _log.exception(
                    "%s: its error output could not be logged; more such failures are not reported", server.name
                )
            failed = True
        del said[:-_LAST_LINES]


def _death(code: int | None, said: list[str]) -> str:
    if code is None:
        how = "it closed its output"
    elif code < 0:
        how = f"it was ended by {_signal_name(-code)}"
    else:
        how = f"it ended with exit code {code}"
    return f"{how}; it said last: {said[-1]}" if said else how


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Close its stdin and give it time; then SIGTERM, then SIGKILL, to its whole group (the protocol's own order)."""
    if process.stdin is not None:
        process.stdin.close()
    steps: tuple[Callable[[], None], ...] = (
        lambda: None,
        lambda: _signal_group(process, signal.SIGTERM),
        lambda: _signal_group(process, signal.SIGKILL if os.name == "posix" else signal.SIGTERM),
    )
    for step in steps:
        step()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await _exited(process)
                break
    # What the program started may outlive it, in its group.
    _signal_group(process, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)


async def _exited(process: asyncio.subprocess.Process) -> None:
    """Wait for its end. `process.wait()` would wait for its pipes, too, which its children may hold."""
    while process.returncode is None:  # noqa: ASYNC110  # nothing else says so
        await asyncio.sleep(0.01)


def _signal_group(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, number)
        elif process.returncode is None:
            process.send_signal(number)


def _close_transport(process: asyncio.subprocess.Process) -> None:
    """Close the pipes that a surviving child may hold; asyncio gives no other way to."""
    transport = getattr(process, "_transport", None)
    if transport is not None:
        with suppress(PermissionError):
            transport.close()
