"""Export and import: a conversation to take along, the same by the UI API and at the command line.

JSON is `{"format": "json", "session": {…}, "messages": […]}` in the UI API's shapes, and can be taken in again: its
texts, not what was done for them. Markdown is for people.
"""

from typing import Annotated, Literal, TypeAlias
from uuid import uuid4

import msgspec

from gaia_core.catalog import Catalog
from gaia_core.errors import GaiaError, NotFoundError
from gaia_core.journal import NewSession, SessionInfo
from gaia_core.nesting import decode_json
from gaia_core.runtime.sessions._session_configuration import configured
from gaia_core.runtime.sessions._session_messages import Facts, SessionMessage, iso, messages_of
from gaia_core.runtime.sessions._transfer import TransferredTurn

_Ids: TypeAlias = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=200)], ...], msgspec.Meta(max_length=1_000)]

UNTITLED = "New Chat"
"""How a session is called that has no title yet; its first answer gives it one."""


class SessionExtras(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is kept of a session beside the journal's own fields, in its metadata."""

    model: str | None = None
    system_prompt: str | None = None
    document_ids: tuple[str, ...] = ()
    device: str | None = None
    mail_provider: str | None = None


class ExportedSession(msgspec.Struct, frozen=True, gc=False):
    """A conversation. *model* is the catalog's name of the model that answers in it."""

    id: str
    title: str
    title_is_custom: bool
    created_at: str
    updated_at: str
    model: str
    system_prompt: str | None
    message_count: int
    document_ids: tuple[str, ...]
    private: bool
    agent_type: str
    device: str | None
    mail_provider: str | None


class SessionExport(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A conversation to take along: *content* as Markdown, or *session* and *messages* as JSON."""

    format: str
    content: str | None = None
    session: ExportedSession | None = None
    messages: tuple[SessionMessage, ...] | None = None


class ImportedSession(msgspec.Struct, frozen=True, gc=False):
    """What of an exported session is taken over; it gets a new id."""

    title: Annotated[str, msgspec.Meta(max_length=500)] = ""
    title_is_custom: bool = False
    model: str | None = None
    system_prompt: Annotated[str, msgspec.Meta(max_length=100_000)] | None = None
    document_ids: _Ids = ()
    private: bool = False
    agent_type: str | None = None
    device: str | None = None
    mail_provider: str | None = None


class ImportedMessage(msgspec.Struct, frozen=True, gc=False):
    """What of an exported message is taken over."""

    role: Literal["user", "assistant", "system"]
    content: str


class SessionImport(msgspec.Struct, frozen=True, gc=False):
    """A JSON export, as it is read."""

    session: ImportedSession
    messages: Annotated[tuple[ImportedMessage, ...], msgspec.Meta(max_length=100_000)]


def metadata_of(info: SessionInfo) -> SessionExtras:
    """The metadata of *info*; none where another surface has its own there."""
    try:
        return msgspec.json.decode(info.metadata, type=SessionExtras)
    except msgspec.DecodeError:
        return SessionExtras()


def shape_of(catalog: Catalog, info: SessionInfo, *, private: bool = False) -> ExportedSession:
    """The session *info* in the UI API's shape."""
    metadata = metadata_of(info)
    try:
        model = configured(catalog, info).model
    except NotFoundError:  # its agent is gone; it can still be read
        model = metadata.model or ""
    return ExportedSession(
        id=info.id,
        title=info.title or UNTITLED,
        title_is_custom=info.title_is_custom,
        created_at=iso(info.created_at),
        updated_at=iso(info.updated_at),
        model=model,
        system_prompt=metadata.system_prompt,
        message_count=info.message_count,
        document_ids=metadata.document_ids,
        private=private,
        agent_type=info.agent,
        device=metadata.device,
        mail_provider=metadata.mail_provider,
    )


def export(session: ExportedSession, facts: Facts, *, as_json: bool) -> SessionExport:
    """The conversation that *facts* tell, as JSON or as Markdown."""
    messages = messages_of(session.id, facts)
    if as_json:
        return SessionExport("json", session=session, messages=messages)
    return SessionExport("markdown", content=_markdown(session, messages))


def read_import(data: bytes) -> SessionImport:
    """The JSON export in *data*. Raises GaiaError."""
    try:
        return decode_json(data, SessionImport)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GaiaError(f"this is no JSON export of a session: {error}") from None


def take_in(catalog: Catalog, owner: str, given: SessionImport) -> tuple[NewSession, tuple[TransferredTurn, ...]]:
    """*given* as a new session of *owner*, and its conversation.

    An agent that *catalog* doesn't have is replaced by its default one; a message of the system joins the prompt.
    """
    session = given.session
    names = tuple(agent.name for agent in catalog.agents)
    agent = catalog.agent(session.agent_type if session.agent_type in names else catalog.default_agent)
    system = [each.content for each in given.messages if each.role == "system"]
    prompt = "\n\n".join(text for text in (session.system_prompt or "", *system) if text) or None
    metadata = SessionExtras(session.model, prompt, session.document_ids, session.device, session.mail_provider)
    new = NewSession(
        str(uuid4()),
        owner,
        agent.name,
        agent.fingerprint,
        "" if session.title == UNTITLED else session.title,
        msgspec.json.encode(metadata),
    )
    return new, tuple(TransferredTurn(each.role, each.content) for each in given.messages if each.role != "system")


def _markdown(session: ExportedSession, messages: tuple[SessionMessage, ...]) -> str:
    parts = [f"# {session.title}"]
    for message in messages:
        who = "User" if message.role == "user" else "Assistant"
        parts.append(f"## {who} ({message.created_at})\n\n{message.content}")
    return "\n\n".join(parts) + "\n"
