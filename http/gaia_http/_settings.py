"""Settings: the address, the bounds and the times of one server, as a frozen value.

Settings()                                     # 127.0.0.1:4200, this machine only
Settings(port=8080, show_activity="off")
"""

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from gaia_core import ConfigError
from gaia_core.frozen_types import is_count, is_seconds, made_once, typed

Activity: TypeAlias = Literal["reasoning", "off"]
ResponseTools: TypeAlias = Literal["mcp_call", "reasoning"]

_LAST_PORT = 65_535
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[^\s/?#@:*\[\]]+)(?::[0-9]{1,5})?\Z")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _port(_settings: object, _attribute: "attrs.Attribute[Any]", value: int) -> None:
    if not 0 <= value <= _LAST_PORT:
        raise ConfigError(f"Settings.port must be 0 (any free one) to {_LAST_PORT}, not {value}")


def _not_negative(_settings: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if value < 0:
        raise ConfigError(f"Settings.{attribute.name} must be seconds, 0 or more, not {value!r}")


def _are_origins(_settings: object, _attribute: "attrs.Attribute[Any]", values: tuple[str, ...]) -> None:
    for value in values:
        if value == "*":
            why = "would let every web page call this server; name each origin"
        elif value == "null":
            why = "is the origin of every sandboxed frame and local file, of any page; serve yours by a web server"
        elif not _ORIGIN.match(value):
            why = "is no origin: give a scheme, a name and a port only, such as https://app.example:8443"
        else:
            continue
        raise ConfigError(f"allowed_origins (--allowed-origin): {value!r} {why}")


def _networks(_settings: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for each in value:
        try:
            ipaddress.ip_network(each, strict=False)
        except ValueError:
            raise ConfigError(
                f"Settings.{attribute.name} must be addresses or networks such as 10.0.0.5 or 10.0.0.0/8, not {each!r}"
            ) from None


def _lowered(names: Iterable[str]) -> tuple[str, ...]:
    """*names* in lower case. What isn't names stays as it is, for the field's check to refuse."""
    given: Any = names
    if isinstance(given, tuple | list) and all(isinstance(name, str) for name in given):
        given = tuple(name.lower() for name in given)
    lowered: tuple[str, ...] = given
    return lowered


def is_loopback(host: str) -> bool:
    """Whether an address or name reaches this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@attrs.frozen(kw_only=True, field_transformer=typed)
class Settings:
    """What a server may take and how long it waits.

    | setting | unit | meaning |
    |---|---|---|
    | host, port | | where it listens |
    | allowed_hosts | names without port | what a request's `Host` may say; default: this machine's names and *host* |
    | allowed_origins | `https://name:port` | pages of other hosts that may call from a browser; not `*`, not `null` |
    | max_body_bytes, max_header_bytes | bytes | a larger request is refused |
    | max_file_bytes | bytes | of an uploaded file |
    | max_headers, max_messages, max_tools | a request's | the same |
    | max_connections | | open at once; idle ones are closed first, then new ones get 503 |
    | max_connections_per_address | | of one address, or IPv6 /64 network |
    | proxy_addresses | addresses, networks | whose connections are many clients' and not counted by address |
    | max_unfinished_bytes | bytes | of request bodies that have not arrived whole, all together |
    | max_unread_bytes | bytes | of answers that wait for slow readers, all together |
    | max_schema_bytes | bytes | of one client tool's parameters |
    | fetch_hosts | names, `*.name`, `*` | whose URLs in a request are fetched; default: none. Public addresses only |
    | max_fetch_bytes, fetch_seconds | bytes, s | of one such URL |
    | body_seconds | s | a body must have arrived within |
    | heartbeat_seconds | s | an idle stream gets a comment this often |
    | write_seconds | s | a client that reads nothing for so long loses its answer (an OpenAI stream: its turn) |
    | drain_seconds | s | running turns may end within, when the server is asked to stop |
    | data | folder | where what belongs to the server itself is kept (the page's settings); None: in memory only |
    | ui_dist | folder | a built single-page client, served at `/`; None: there is none |
    | show_activity | | the agent's own tools as lines of `reasoning_content`, or not |
    | response_tools | | of the Responses API: the agent's own tools as items of their own, or as reasoning |
    | tune_gc | | `serve` freezes what start-up made, and collects less often |
    """

    __attrs_pre_init__ = made_once

    host: str = "127.0.0.1"
    port: int = attrs.field(default=4200, validator=_port)
    allowed_hosts: tuple[str, ...] = attrs.field(default=(), converter=_lowered)
    allowed_origins: tuple[str, ...] = attrs.field(default=(), converter=_lowered, validator=_are_origins)
    max_body_bytes: int = attrs.field(default=20_000_000, validator=is_count)
    max_file_bytes: int = attrs.field(default=50_000_000, validator=is_count)
    max_header_bytes: int = attrs.field(default=65_536, validator=is_count)
    max_headers: int = attrs.field(default=200, validator=is_count)
    max_messages: int = attrs.field(default=10_000, validator=is_count)
    max_tools: int = attrs.field(default=256, validator=is_count)
    max_schema_bytes: int = attrs.field(default=65_536, validator=is_count)
    max_connections: int = attrs.field(default=2_000, validator=is_count)
    max_connections_per_address: int = attrs.field(default=200, validator=is_count)
    proxy_addresses: tuple[str, ...] = attrs.field(default=_LOOPBACK_NETWORKS, converter=_lowered, validator=_networks)
    max_unfinished_bytes: int = attrs.field(default=200_000_000, validator=is_count)
    max_unread_bytes: int = attrs.field(default=100_000_000, validator=is_count)
    fetch_hosts: tuple[str, ...] = attrs.field(default=(), converter=_lowered)
    max_fetch_bytes: int = attrs.field(default=10_000_000, validator=is_count)
    fetch_seconds: float = attrs.field(default=15.0, validator=is_seconds)
    body_seconds: float = attrs.field(default=60.0, validator=is_seconds)
    heartbeat_seconds: float = attrs.field(default=12.0, validator=is_seconds)
    write_seconds: float = attrs.field(default=60.0, validator=is_seconds)
    drain_seconds: float = attrs.field(default=10.0, validator=_not_negative)
    show_activity: Activity = "reasoning"
    response_tools: ResponseTools = "mcp_call"
    tune_gc: bool = True
    data: Path | None = None
    ui_dist: Path | None = None

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The networks of *proxy_addresses*."""
        return tuple(ipaddress.ip_network(each, strict=False) for each in self.proxy_addresses)

    @property
    def hosts(self) -> frozenset[str]:
        """The names that a request's `Host` may have, lower case, an IPv6 address in brackets."""
        if self.allowed_hosts:
            return frozenset(self.allowed_hosts)
        host = self.host.lower()
        return frozenset((*_LOOPBACK, f"[{host}]" if ":" in host and not host.startswith("[") else host))
