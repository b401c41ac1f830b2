"""Log lines: as text for people, or as JSON for machines, each with the request, key, session and turn it is about.

    2026-11-25 21:57:00,123 WARNING gaia_http.line: turn_… loses its reader [request=req_… key=laptop session=… turn=…]
    {"time":"2026-11-25T21:57:00.123Z","level":"warning","logger":"gaia_http.line","message":"…","request":"req_…",…}

One record is one line: what can't be seen of a message is escaped, so that nobody forges log lines or steers the
terminal that shows them. What looks like a secret is masked, in the records of every logger. Nothing here is global:
`serve` makes one `LogContext`.
"""

import logging
import re
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias

import msgspec

from gaia_core import Session
from gaia_core.messages import mended
from gaia_core.visible_text import visible

LogFormat: TypeAlias = Literal["text", "json"]
Said: TypeAlias = tuple[tuple[str, str], ...]

_MASK = "***"
_SECRETS = re.compile(
    r"(?i)\b(bearer|basic)\s+[^\s\"',;]{8,}"
    r"|((?<![A-Za-z0-9])(?:authorization|api[_-]?key|password|secret|token)\b|(?<=[?&])key)(\"?'?\s*[=:]\s*\"?'?(?:(?:bearer|basic)\s+)?)(?!(?:bearer|basic)\s)[^\s\"',;&]{4,}"
    r"|\b(sk|gaia|hf|gh[a-z]|github_pat|xox[a-z])([-_])[A-Za-z0-9_-]{16,}"
    r"|(\b\w{1,20}://[^/\s:@]{1,200}:)[^/\s@]+(?=@)"  # bounded: a line of a megabyte must not take a megabyte's square
)
_STANDARD = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"))


class LogContext:
    """What the log lines of a request, and of the turn that it began, say of it.

    The door says which request; as an observer of the runtime it hears which turn. Tasks inherit what their maker had.
    """

    def __init__(self) -> None:
        self._said: ContextVar[Said] = ContextVar("gaia.log", default=())

    def request(self, request_id: str, key: str) -> None:
        """From here on, this task is about the request of that id, by the *key* of that name ("": there is none)."""
        self._said.set((("request", request_id), ("key", key)) if key else (("request", request_id),))

    sees_turns = False
    """See Observer."""

    def turn(self, session: Session, turn_id: str) -> None:
        """See Observer: there is nothing of a turn that it sees, but where it begins."""
        about = tuple(pair for pair in self._said.get() if pair[0] in ("request", "key"))
        self._said.set((*about, ("session", session.id), ("turn", turn_id)))

    @property
    def said(self) -> Said:
        """What is known where it is asked for."""
        return self._said.get()


class TextFormatter(logging.Formatter):
    """A line for people. A traceback follows on lines of its own."""

    def __init__(self, context: LogContext) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._context = context

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """The record as one line."""
        said = " ".join(f"{name}={value}" for name, value in self._context.said)
        line = super().formatMessage(record)
        return escaped(masked(f"{line} [{said}]" if said else line))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        """The traceback; lines stay lines."""
        return visible(masked(super().formatException(ei)))


class JsonFormatter(logging.Formatter):
    """A JSON object on one line, further fields of the record (`extra`) included."""

    def __init__(self, context: LogContext) -> None:
        super().__init__()
        self._context = context

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"
        line: dict[str, Any] = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage()),
            **dict(self._context.said),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in line:
                line[name] = value if isinstance(value, int | float | bool | None) else masked(str(value))
        if record.exc_info:
            line["exception"] = masked(self.formatException(record.exc_info))
        try:
            encoded = msgspec.json.encode(line).decode()
        except UnicodeEncodeError:
            encoded = msgspec.json.encode(mended(line)).decode()
        return visible(encoded)  # what JSON itself would let pass


def masked(text: str) -> str:
    """*text* without what looks like a secret."""
    return _SECRETS.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    scheme, name, between, prefix, dash, url = found.groups()
    if scheme:
        return f"{scheme} {_MASK}"
    if name:
        return f"{name}{between}{_MASK}"
    return f"{prefix}{dash}{_MASK}" if prefix else f"{url}{_MASK}"


def escaped(text: str) -> str:
    """*text* on one line: line feeds, and all that can't be seen or could steer a terminal, as `\\n` or `\\u202e`."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def logging_config(level: str, form: LogFormat, context: LogContext, stream: Any) -> Mapping[str, Any]:
    """The configuration of a server's log, for `logging.config.dictConfig`."""
    formatter = JsonFormatter if form == "json" else TextFormatter
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter, "context": context}},
        "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "line", "stream": stream}},
        "root": {"level": level.upper(), "handlers": ["err"]},
        "loggers": {"uvicorn": {"level": "DEBUG" if level == "debug" else "WARNING"}},
    }
