"""The entrance: who may come in, by what the head of a request says.

| check | refused by |
|---|---|
| the size of the headers | 431 |
| the Host: a page of another site that makes its name point here must not reach a local agent (DNS rebinding) | 403 |
| the Origin: nor may it post here from a browser | 403 |
| the key, where one is asked for: `Authorization: Bearer`, or Basic's password, or `x-api-key` | 401 |

Basic is for browsers: they ask for the key once, and send it with all that a page of this server does, event streams
too. A page can't send it from elsewhere: with keys, an Origin must be this server's own, or an allowed one.

Everything needs a key but `/health` and `/ready`, which reveal nothing.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterable

import msgspec
from litestar.types import Scope

from gaia_http._errors import ErrorReply
from gaia_http._settings import Settings, is_loopback
from gaia_http.door._caller import LOCAL, Caller
from gaia_http.keys import Key, Keyring

_OPEN = frozenset(("/health", "/ready"))
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}\Z")
_HOST = re.compile(r"(?P<name>\[[0-9a-z:.%]+\]|[^\[\]:@/]*)(?::[0-9]*)?\Z")
_ANY = "*"
_DEFAULT_PORTS = ("80", "443")
_BEARER = ("www-authenticate", 'Bearer realm="gaia"')
_BASIC = ("www-authenticate", 'Basic realm="gaia", charset="UTF-8"')


class AdmittedRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of a request at the door: why it is refused, or who its caller is.

    *origin*: the page of another host that calls, where it is an allowed one. *preflight*: its browser asks first.
    """

    request_id: bytes
    caller: Caller = LOCAL
    key: Key | None = None
    refusal: ErrorReply | None = None
    origin: bytes | None = None
    preflight: bool = False


class _RequestHead(msgspec.Struct, gc=False):
    """What the headers say, as far as it matters here."""

    request_id: bytes = b""
    count: int = 0
    size: int = 0
    hosts: tuple[str, ...] = ()
    origin: str | None = None
    authorization: bytes | None = None
    api_key: bytes | None = None
    asks_method: bool = False


class AccessControl:
    """Belongs to one application. Without a *keyring*, or as long as it asks for none, all come in as `LOCAL`."""

    def __init__(self, settings: Settings, keyring: Keyring | None = None) -> None:
        self._settings = settings
        self._keyring = keyring
        self._hosts = settings.hosts
        self._origins = frozenset(settings.allowed_origins)
        # Who comes with a key has not come by another site's name: that site's pages have none.
        self._any_host = not settings.allowed_hosts and not is_loopback(settings.host)

    def look_at(self, scope: Scope) -> AdmittedRequest:
        """Let the request or the WebSocket in, or say why not."""
        head = _head(scope["headers"])
        request_id = head.request_id or b"req_" + os.urandom(16).hex().encode()
        keyring = self._keyring if self._keyring is not None and self._keyring.required else None
        refusal = (
            self._too_large(head)
            or _one_host(scope, head)
            or self._host_refused(head, keyring)
            or self._origin_refused(head, keyring)
        )
        if refusal is not None:
            return AdmittedRequest(request_id=request_id, refusal=refusal)
        origin = head.origin.encode("latin-1") if head.origin and head.origin.lower() in self._origins else None
        if origin is not None and head.asks_method and scope.get("method") == "OPTIONS":
            return AdmittedRequest(request_id=request_id, origin=origin, preflight=True)
        if keyring is None or scope["path"] in _OPEN:
            return AdmittedRequest(request_id=request_id, origin=origin)
        secret = _secret(head)
        key = keyring.find(secret) if secret else None
        if key is None:
            refusal = _unauthorized(head, str(scope["path"]))
            return AdmittedRequest(request_id=request_id, origin=origin, refusal=refusal)
        return AdmittedRequest(request_id=request_id, origin=origin, key=key, caller=_caller(key))

    def holds(self, key: Key) -> bool:
        """Whether a key that has come in would still come in."""
        return self._keyring is not None and self._keyring.holds(key)

    def _too_large(self, head: _RequestHead) -> ErrorReply | None:
        settings = self._settings
        if head.size <= settings.max_header_bytes and head.count <= settings.max_headers:
            return None
        return ErrorReply(
            status=431,
            message=f"the headers are {head.count} of {head.size} bytes; at most {settings.max_headers} of "
            f"{settings.max_header_bytes} bytes are taken (max_headers, max_header_bytes)",
            code="headers_too_large",
            headers=(("connection", "close"),),
        )

    def _host_refused(self, head: _RequestHead, keyring: Keyring | None) -> ErrorReply | None:
        if _ANY in self._hosts or (keyring is not None and self._any_host):
            return None
        for host in head.hosts:
            if host_name(host) not in self._hosts:
                return ErrorReply(
                    status=403,
                    message=f"the host {host[:200]!r} is not served here; if it should be, start the server with "
                    "--allowed-host and that name",
                    code="host_not_allowed",
                )
        return None

    def _origin_refused(self, head: _RequestHead, keyring: Keyring | None) -> ErrorReply | None:
        if head.origin is None:
            return None
        lowered = head.origin.lower()
        authority = lowered.partition("://")[2]
        if lowered in self._origins:
            return None
        if keyring is None:
            # This machine's user may have a page of his own on another port.
            same = host_name(authority) in self._hosts if authority else False
        else:
            same = bool(authority) and any(_plain(authority) == _plain(host.lower()) for host in head.hosts)
        if same:
            return None
        return ErrorReply(
            status=403,
            message=f"pages of {head.origin[:200]!r} may not call this server; if they should, start it with "
            "--allowed-origin and that origin",
            code="origin_not_allowed",
        )


def _one_host(scope: Scope, head: _RequestHead) -> ErrorReply | None:
    """What a request hears that names no host, or several. Source: RFC 9112, section 3.2."""
    if len(head.hosts) == 1 or scope.get("http_version") != "1.1":
        return None
    return ErrorReply(status=400, message=f"there are {len(head.hosts)} Host headers; give one", code="invalid_host")


def _head(headers: Iterable[tuple[bytes, bytes]]) -> _RequestHead:
    head = _RequestHead()
    for name, value in headers:
        head.count += 1
        head.size += len(name) + len(value)
        if name == b"host":
            head.hosts = (*head.hosts, value.decode("latin-1"))
        elif name == b"origin":
            head.origin = value.decode("latin-1")
        elif name == b"authorization":
            head.authorization = value
        elif name == b"x-api-key":
            head.api_key = value
        elif name == b"access-control-request-method":
            head.asks_method = True
        elif name == b"x-request-id" and _REQUEST_ID.match(value):
            head.request_id = value
    return head


def _secret(head: _RequestHead) -> bytes:
    """The secret that a request brings; empty: none."""
    if head.authorization is None:
        return (head.api_key or b"").strip()
    scheme, _, rest = head.authorization.strip().partition(b" ")
    rest = rest.strip()
    if scheme.lower() == b"bearer":
        return rest
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(rest, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


def _unauthorized(head: _RequestHead, path: str) -> ErrorReply:
    given = head.authorization is not None or head.api_key is not None
    words = "the API key is not valid here, or was revoked" if given else "this server requires an API key"
    bearer = head.authorization is not None and not head.authorization.lower().startswith(b"basic")
    # On "Basic" a browser asks its user for a password: not offered on the paths that programs use.
    programs = bearer or head.api_key is not None or path == "/v1" or path.startswith("/v1/")
    return ErrorReply(
        status=401,
        message=f"{words}: send one as 'Authorization: Bearer KEY' (or x-api-key); gaia keys create makes one",
        code="invalid_api_key",
        headers=(_BEARER,) if programs else (_BEARER, _BASIC),
    )


def _caller(key: Key) -> Caller:
    agents = frozenset(key.agents) if key.agents is not None else None
    return Caller(owner=key.id, name=key.name, agents=agents, admin=key.admin)


def host_name(host: str) -> str:
    """The name in `name:port`, lower case, without a trailing dot; an IPv6 address keeps its brackets; "": none."""
    found = _HOST.match(host.lower())
    return found["name"].rstrip(".") if found is not None else ""


def _plain(authority: str) -> str:
    """`name:port` without the port that a scheme has anyway: a proxy may have spoken TLS."""
    rest = authority.rpartition("]")[2]  # an IPv6 address has colons of its own
    _, colon, port = rest.rpartition(":")
    return authority.removesuffix(f":{port}") if colon and port in _DEFAULT_PORTS else authority
