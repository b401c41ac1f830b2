"""Errors: each has a type, names the value at fault and says what to do.

GaiaError
├── ToolDeclarationError    a tool can't be made from this function (also a TypeError)
├── ToolsetError            a composition names a tool that isn't there, or a bad name (also a ValueError)
│   └── ToolCollisionError  two different tools of one name
├── ArgumentsError          a call's arguments don't fit the tool's schema
├── ToolError               raised by a tool's author: these words reach the model
├── NestingError            a JSON document is nested too deep (also a msgspec.DecodeError)
├── SchemaError             a caller's JSON schema can't be used (also a ValueError)
├── ConfigError             gaia.toml, a plugin's arguments, a field of an agent, message, … (also a ValueError)
│   └── LockError           a tool's definition is not the one in gaia.lock, or that file can't be used
├── ModelError              a model request failed (gaia_core.models)
├── TurnError               a turn that `run` waited for has no answer (gaia_core.runtime)
├── BusyError               the session runs a turn already
├── QueueFullError          a model's queue is full; says when to retry
├── LimitError              an owner's quota is used up; says when to retry
├── StorageFullError        an owner keeps as much as it may; says what to delete
├── FencedError             the lease of a session was lost: another process continues its turn
├── JournalError            the journal's file or database can't be used
│   └── OutcomeUnknownError the end of a turn can't be recorded for now; attach to it again
├── DamagedRecordError      one record of a session can't be read: names both
├── NotFoundError           no such agent, model, session, turn, approval
├── AnsweredError           an approval or question was answered already, or has expired
├── EventIdError            a text that is no event id (also a ValueError)
├── ClosedError             the runtime is closed or drains
└── DivergenceError         a replay saw another request than was recorded
"""

import msgspec


class GaiaError(Exception):
    """The root of this project's errors."""


class ToolDeclarationError(GaiaError, TypeError):
    """A tool can't be made from this function: names the function and the parameter."""


class ToolsetError(GaiaError, ValueError):
    """A toolset operation names a tool that isn't there, or gives a name that no model accepts."""


class ToolCollisionError(ToolsetError):
    """Two different tools of one name; names both sides and the ways out."""


class ArgumentsError(GaiaError):
    """A call's arguments don't fit. *problems* lists every one, each with its path, in words for a model."""

    def __init__(self, tool: str, problems: tuple[str, ...]) -> None:
        self.tool = tool
        self.problems = problems
        listed = "\n".join(f"- {problem}" for problem in problems)
        super().__init__(f"The arguments of {tool} are not valid:\n{listed}")


class ToolError(GaiaError):
    """Raise it in a tool to tell the model, in your words, what went wrong and what to do."""


class ConfigError(GaiaError, ValueError):
    """A configuration, or a field of a value, is wrong: names the place, the value, and the nearest valid name."""


class LockError(ConfigError):
    """A tool's definition isn't the reviewed one: shows the difference and how to accept it. Or a bad gaia.lock."""


class NestingError(GaiaError, msgspec.DecodeError):
    """A JSON document is nested deeper than *limit* levels (`gaia_core.nesting`). *place* holds the first steps of the
    path to the value; "" if it is not known. Code that handles JSON that can't be decoded handles this error, too."""

    def __init__(self, limit: int, place: str = "") -> None:
        self.limit = limit
        self.place = place
        where = f", in {place}" if place else ""
        super().__init__(f"nested deeper than {limit} levels{where}")


class SchemaError(GaiaError, ValueError):
    """A JSON schema that a caller gave can't be used: what is wrong with it, and where."""


class BusyError(GaiaError):
    """The session runs a turn already."""


class QueueFullError(GaiaError):
    """A model's queue is full; *retry_after* is an estimate in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LimitError(GaiaError):
    """An owner has used up what he may use for now; *retry_after* is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StorageFullError(GaiaError):
    """An owner keeps as much as it may: says how much that is, and what to delete."""


class FencedError(GaiaError):
    """The lease of a session was lost: drop the turn, the new holder of the lease continues it."""


class JournalError(GaiaError):
    """The journal can't be used: a damaged or foreign file, a newer schema, a database out of reach."""


class OutcomeUnknownError(JournalError):
    """A turn is over or stopped, and the journal can't record that for now: it has no end yet. The process that runs it
    keeps trying; attach to the session again."""


class DamagedRecordError(GaiaError):
    """A record of a session can't be read; the others can. *session* is its id, *seq* the record."""

    def __init__(self, session: str, seq: int, kind: str, why: str) -> None:
        self.session = session
        self.seq = seq
        before = f" or fork the session before it (gaia sessions fork {session} --at)" if seq > 1 else ""
        super().__init__(
            f"session {session!r}: record {seq} ({kind}) is damaged: {why}. gaia journal check names all that are; "
            f"restore a backup{before}"
        )


class NotFoundError(GaiaError, LookupError):
    """No agent, model, session, turn or approval of that name or id."""


class AnsweredError(GaiaError):
    """An approval or question was answered already, or has expired: each is answered once."""


class EventIdError(GaiaError, ValueError):
    """A text that is no event id: names it."""


class ClosedError(GaiaError):
    """The runtime is closed, or takes no new turns because it is about to."""


class DivergenceError(GaiaError):
    """A replay made another request than the recorded one; says where they first differ."""
