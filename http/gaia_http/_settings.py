"""Settings: the address, the bounds and the times of one server, as a frozen value.

Settings()                                     # 127.0.0.1:4200, this machine only
Settings(port=8080, show_activity="off")
"""

import ipaddress
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from gaia_core import ConfigError

Activity: TypeAlias = Literal["reasoning", "off"]
ResponseTools: TypeAlias = Literal["mcp_call", "reasoning"]

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def _positive(instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{type(instance).__name__}.{attribute.name} must be greater than 0, not {value!r}")


def _lowered(hosts: "tuple[str, ...]") -> tuple[str, ...]:
    return tuple(host.lower() for host in hosts)


def is_loopback(host: str) -> bool:
    """Whether an address or name reaches this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@attrs.frozen(kw_only=True)
class Settings:
    """What a server may take and how long it waits.

    | setting | unit | meaning |
    |---|---|---|
    | host, port | | where it listens |
    | allowed_hosts | names without port | what a request's `Host` may say; default: this machine's names and *host* |
    | allowed_origins | `https://name:port` | pages of other hosts that may call from a browser |
    | max_body_bytes, max_header_bytes | bytes | a larger request is refused |
    | max_file_bytes | bytes | of an uploaded file |
    | max_headers, max_messages, max_tools | a request's | the same |
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

    host: str = "127.0.0.1"
    port: int = attrs.field(default=4200, validator=attrs.validators.in_(range(65_536)))
    allowed_hosts: tuple[str, ...] = attrs.field(default=(), converter=_lowered)
    allowed_origins: tuple[str, ...] = attrs.field(default=(), converter=_lowered)
    max_body_bytes: int = attrs.field(default=20_000_000, validator=_positive)
    max_file_bytes: int = attrs.field(default=50_000_000, validator=_positive)
    max_header_bytes: int = attrs.field(default=65_536, validator=_positive)
    max_headers: int = attrs.field(default=200, validator=_positive)
    max_messages: int = attrs.field(default=10_000, validator=_positive)
    max_tools: int = attrs.field(default=256, validator=_positive)
    max_schema_bytes: int = attrs.field(default=65_536, validator=_positive)
    fetch_hosts: tuple[str, ...] = attrs.field(default=(), converter=_lowered)
    max_fetch_bytes: int = attrs.field(default=10_000_000, validator=_positive)
    fetch_seconds: float = attrs.field(default=15.0, validator=_positive)
    body_seconds: float = attrs.field(default=60.0, validator=_positive)
    heartbeat_seconds: float = attrs.field(default=12.0, validator=_positive)
    write_seconds: float = attrs.field(default=60.0, validator=_positive)
    drain_seconds: float = attrs.field(default=10.0, validator=attrs.validators.ge(0))
    show_activity: Activity = attrs.field(default="reasoning", validator=attrs.validators.in_(("reasoning", "off")))
    response_tools: ResponseTools = attrs.field(
        default="mcp_call", validator=attrs.validators.in_(("mcp_call", "reasoning"))
    )
    tune_gc: bool = True
    data: Path | None = None
    ui_dist: Path | None = None

    @property
    def hosts(self) -> frozenset[str]:
        """The names that a request's `Host` may have, lower case, an IPv6 address in brackets."""
        if self.allowed_hosts:
            return frozenset(self.allowed_hosts)
        host = self.host.lower()
        return frozenset((*_LOOPBACK, f"[{host}]" if ":" in host and not host.startswith("[") else host))
