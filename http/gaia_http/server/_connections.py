"""Connections: how many a server has, from whom, and how much of them waits in memory, over all of them together.

| bound | beyond it |
|---|---|
| `max_connections`, and what the process may open | the connection that has been idle longest is closed; else 503 |
| `max_connections_per_address` | the address's own idle one is closed; else 503. Not for `proxy_addresses` |
| `max_unfinished_bytes`, of request bodies that have not arrived | the largest one is refused, 503 |
| `max_unread_bytes`, of answers that wait for their readers | the connection that reads nothing is aborted |

An IPv6 client has a whole /64 network: that counts as one address. Behind a reverse proxy all clients have the proxy's
address, so `proxy_addresses` names those that count for nobody; this machine's own are among them by default.
"""

import asyncio
import ipaddress
import logging
import sys
from collections import Counter
from typing import Protocol

from gaia_http._settings import Settings

_RESERVED_DESCRIPTORS = 128
"""What a process keeps of its open files for the journal, models, MCP servers and pages."""

SEAT = "gaia.seat"
"""The key in a protocol's state by which a connection's seat comes to the protocol that it is upgraded to."""

_log = logging.getLogger(__name__)


class ServedConnection(Protocol):
    """What this needs of a connection. Its methods are called on the event loop, and await nothing."""

    transport: asyncio.Transport

    def evict(self) -> None:
        """Close it: it is idle, and another client needs its place."""
        ...

    def refuse_body(self, message: str) -> None:
        """Answer the request whose body is arriving with 503 and *message*, and close."""
        ...


class Seat:
    """The place that one connection has. Written by its protocol, through `Connections`."""

    __slots__ = ("address", "connection", "unfinished", "unread")

    def __init__(self, connection: ServedConnection, address: str) -> None:
        self.connection = connection
        self.address = address
        """Whose it counts as; "" counts as nobody's."""
        self.unfinished = 0
        """Bytes of a request body that has not arrived whole."""
        self.unread: int | None = None
        """Bytes that waited for their reader at the last look; None while the connection isn't slow."""


class Connections:
    """Belongs to one server process. All methods run on its event loop, and none awaits."""

    def __init__(self, settings: Settings) -> None:
        self._most = min(settings.max_connections, _descriptors())
        self._most_per_address = settings.max_connections_per_address
        self._most_unfinished = settings.max_unfinished_bytes
        self._most_unread = settings.max_unread_bytes
        self._proxies = settings.proxies
        self._open: set[Seat] = set()
        self._by_address: Counter[str] = Counter()
        self._idle: dict[Seat, None] = {}
        """Connections without a request, the one that has been idle longest first."""
        self._receiving: set[Seat] = set()
        """Those whose `unfinished` is not 0."""
        self._unfinished = 0
        self._slow: set[Seat] = set()
        """Those whose client doesn't read all that it is sent."""

    def __len__(self) -> int:
        return len(self._open)

    # Places.

    def take(self, connection: ServedConnection, host: str | None) -> Seat | str:
        """A seat for a new *connection* from *host* (None: a socket without addresses); or why there is none."""
        address = self._counted(host)
        if address and self._by_address[address] >= self._most_per_address and not self._evict_idle(address):
            return (
                f"this address has {self._by_address[address]} connections, which is the most "
                "(max_connections_per_address); close some, or let the operator name your proxy (--proxy-address)"
            )
        if len(self._open) >= self._most and not self._evict_idle():
            return f"the server has {len(self._open)} connections, which is the most (max_connections); try again later"
        return self._seated(connection, address)

    def take_over(self, seat: Seat, connection: ServedConnection) -> Seat:
        """The seat of a connection that speaks another protocol from here on."""
        self.leave(seat)
        return self._seated(connection, seat.address)

    def _seated(self, connection: ServedConnection, address: str) -> Seat:
        seat = Seat(connection, address)
        self._open.add(seat)
        if address:
            self._by_address[address] += 1
        return seat

    def leave(self, seat: Seat) -> None:
        """The connection is closed. Idempotent."""
        if seat not in self._open:
            return
        self._open.discard(seat)
        self._idle.pop(seat, None)
        self._slow.discard(seat)
        self.received(seat)
        if seat.address:
            self._by_address[seat.address] -= 1
            if not self._by_address[seat.address]:
                del self._by_address[seat.address]

    def idle(self, seat: Seat) -> None:
        """The connection has no request: it is closed when another needs its place."""
        if seat in self._open:
            self._idle[seat] = None

    def busy(self, seat: Seat) -> None:
        """A request has begun."""
        self._idle.pop(seat, None)

    def _evict_idle(self, address: str = "") -> bool:
        """Close the connection (of *address*) that has been idle longest; False: there is none."""
        seat = next((seat for seat in self._idle if not address or seat.address == address), None)
        if seat is None:
            return False
        self.leave(seat)
        seat.connection.evict()
        return True

    def _counted(self, host: str | None) -> str:
        if not host:
            return ""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return ""
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self._proxies if network.version == address.version):
            return ""
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((address, 64), strict=False))
        return str(address)

    # Request bodies.

    def receiving(self, seat: Seat, size: int) -> None:
        """*size* bytes of a request body have arrived (less than 0: they are not in memory any more)."""
        if seat not in self._open:
            return
        seat.unfinished += size
        self._unfinished += size
        self._receiving.add(seat)
        if size <= 0:
            return
        while self._unfinished > self._most_unfinished:
            largest = max(self._receiving, key=lambda each: each.unfinished)
            _log.warning(
                "a request of %s is refused: bodies of %d bytes have not arrived whole, the largest of %d",
                largest.address or "a proxy or this machine",
                self._unfinished,
                largest.unfinished,
            )
            self.received(largest)
            largest.connection.refuse_body(
                f"too many request bodies arrive at once ({self._most_unfinished} bytes are taken together, "
                "max_unfinished_bytes); send this request again later"
            )
            if largest is seat:
                return

    def received(self, seat: Seat) -> None:
        """The body is whole, or will not come."""
        self._unfinished -= seat.unfinished
        seat.unfinished = 0
        self._receiving.discard(seat)

    # Answers.

    def slow(self, seat: Seat) -> None:
        """The client doesn't read as quickly as it is sent."""
        if seat not in self._open:
            return
        self._slow.add(seat)
        waiting = {each: each.connection.transport.get_write_buffer_size() for each in self._slow}
        total = sum(waiting.values())
        # Those that have read nothing since the last look, then the others, the largest first; but not a last one.
        order = sorted(waiting, key=lambda each: (each.unread == waiting[each], waiting[each]), reverse=True)
        for each in order:
            if total <= self._most_unread or len(self._slow) == 1:
                break
            total -= waiting[each]
            _log.warning(
                "a connection of %s is dropped: its client does not read, and %d bytes wait for such clients",
                each.address or "a proxy or this machine",
                total + waiting[each],
            )
            self._slow.discard(each)
            each.connection.transport.abort()
        for each in self._slow:
            each.unread = waiting[each]

    def quick(self, seat: Seat) -> None:
        """It has caught up."""
        self._slow.discard(seat)
        seat.unread = None


def _descriptors() -> int:
    """How many connections the process may open."""
    if sys.platform == "win32":
        return sys.maxsize
    from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit  # noqa: PLC0415  # Unix's

    most = getrlimit(RLIMIT_NOFILE)[0]
    return sys.maxsize if most == RLIM_INFINITY else max(16, most - _RESERVED_DESCRIPTORS)
