"""Whether a client reads what it is sent: neither uvicorn nor asyncio gives a write a time-out."""

import asyncio
import logging
import socket
import sys
from typing import cast

_LOOKS = 4
"""Checks per time limit. A client is dropped up to one check late, so that a stream (`_sse_writer`), which knows more
of its reader, comes first."""

MUCH = 65_536
"""Of bytes that come together, after which a connection lets others have their turn: libuv would give it 32 such."""

_log = logging.getLogger(__name__)


class WriteWatchdog:
    """The client of one connection, which is aborted once *seconds* have passed without a byte being read.

    `look` whenever something was written that it may not read; it ends by itself when nothing is left to be written.
    Called by its protocol and by its own timer, on one event loop; nothing here awaits.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        """The next check; None when it isn't looking. Set by `look` and after each check, cancelled by `stop`."""
        self._unread: int | None = None
        """The unread bytes at the last check; None before the first one, and when the client has read since."""
        self._unread_since = 0.0
        """Since when they are this number, on the loop's clock. Written by `_on_look`, as `_unread` is."""

    def look(self) -> None:
        """Look now and then from here on, unless that is done already."""
        if self._timer is None and self._transport.get_write_buffer_size():
            self._unread = None
            self._later()

    def has_read(self) -> None:
        """It has read something: its time begins anew."""
        self._unread = None

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self) -> None:
        self._timer = self._loop.call_later(self._seconds / _LOOKS, self._on_look)

    def _on_look(self) -> None:
        self._timer = None
        unread = self._transport.get_write_buffer_size()
        if not unread:
            return
        unread += _held_by_system(self._transport)
        now = self._loop.time()
        if unread != self._unread:  # a large answer is one write: a slow reader is no stalled one
            self._unread, self._unread_since = unread, now
        elif now - self._unread_since >= self._seconds:
            _log.warning("a connection is dropped: its client has read nothing for %g s", self._seconds)
            self._transport.abort()
            return
        self._later()


def _held_by_system(transport: asyncio.Transport) -> int:
    """The bytes that were written and the client's machine has not acknowledged; 0 where the system doesn't say it.

    The system takes more from us only once about a third of its buffer is free. That may be a megabyte, for which a
    slow client needs longer than it may read nothing.
    """
    if sys.platform != "linux":
        return 0
    from fcntl import ioctl  # noqa: PLC0415  # these are Unix's
    from termios import TIOCOUTQ  # noqa: PLC0415  # SIOCOUTQ (tcp(7)) by its other name

    connection = cast("socket.socket | None", transport.get_extra_info("socket"))
    if connection is None or connection.fileno() < 0:
        return 0
    try:
        return int.from_bytes(ioctl(connection, TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:  # it is gone, which others notice
        return 0
