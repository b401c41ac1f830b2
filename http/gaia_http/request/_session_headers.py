"""Which session a request belongs to, by the first header that names one; always within its caller's own.

| header | who sends it |
|---|---|
| `X-Session-Id` | clients written for this server; a session that is busy is a 409 |
| `X-OpenWebUI-Chat-Id` | Open WebUI; a chat may ask several agents at once |
| `session-id`, `session_id`, or `prompt_cache_key` of the body | Codex (source: its client, `codex-rs`) |

The last two don't name sessions on purpose, so they wait for one that is busy instead of being refused. `user` is never
a session, and `prompt_cache_key` is one for Codex only: others let many conversations share one.
"""

import hashlib
import re

import attrs
from litestar.types import Scope

from gaia_core.runtime import WhenBusy
from gaia_http._errors import invalid

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_CODEX = "codex"
_TASK = b"x-openwebui-task"
_NAMING = frozenset(
    (_TASK, b"x-session-id", b"x-openwebui-chat-id", b"session-id", b"session_id", b"originator", b"user-agent")
)
"""The headers that are looked at here."""
_UNFILLED = "{{"


@attrs.frozen
class NamedSession:
    """A session that a request names. *when_busy*: what becomes of the request while the session runs a turn."""

    id: str
    when_busy: WhenBusy


def session_of(scope: Scope, prompt_cache_key: str | None = None) -> NamedSession | None:
    """The session that a request names, or None. Raises ApiError 400 for an `X-Session-Id` that can't be one."""
    headers = _headers(scope)
    given = headers.get(b"x-session-id")
    if given is not None:
        if _ID.match(given) is None:
            raise invalid(
                "X-Session-Id must be 1 to 128 letters, digits, '.', '_', ':' or '-'",
                param="X-Session-Id",
                code="invalid_value",
            )
        return NamedSession(given, "reject")
    if chat := _filled(headers, b"x-openwebui-chat-id"):
        return NamedSession(_fitting(chat), "queue")
    codex = headers.get(b"session-id") or headers.get(b"session_id") or ""
    if not codex and prompt_cache_key and _is_codex(headers):
        codex = prompt_cache_key
    return NamedSession(_fitting(codex), "queue") if codex else None


def is_named_task(scope: Scope) -> bool | None:
    """Whether Open WebUI says by a header that it asks for a task of its own; on an ordinary message that is empty.

    None: it doesn't say, because the header isn't set up, or is one that it doesn't fill in.
    """
    if not any(name == _TASK for name, _ in scope["headers"]):
        return None
    headers = _headers(scope)
    if headers[_TASK].startswith(_UNFILLED):
        return None
    return bool(_filled(headers, _TASK))


def _headers(scope: Scope) -> dict[bytes, str]:
    return {name: value.decode("latin-1").strip() for name, value in scope["headers"] if name in _NAMING}


def _filled(headers: dict[bytes, str], name: bytes) -> str:
    """A header of Open WebUI's: its users write `{{CHAT_ID}}`, which older versions send as it stands, and which is
    empty or no value where there is nothing to fill in."""
    value = headers.get(name, "")
    return "" if value.startswith(_UNFILLED) or value.lower() in ("none", "null", "undefined") else value


def _is_codex(headers: dict[bytes, str]) -> bool:
    return any(headers.get(name, "").lower().startswith(_CODEX) for name in (b"originator", b"user-agent"))


def _fitting(name: str) -> str:
    """*name*, or a hash of it where it is no id of ours."""
    return name if _ID.match(name) else f"h:{hashlib.sha256(name.encode()).hexdigest()[:40]}"
