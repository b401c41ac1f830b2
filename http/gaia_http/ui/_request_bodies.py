"""The bodies that the UI API takes. Unknown fields are ignored: its clients send more than any server reads."""

from typing import Annotated, Literal, TypeAlias

import msgspec

Title: TypeAlias = Annotated[str, msgspec.Meta(max_length=500)]
Prompt: TypeAlias = Annotated[str, msgspec.Meta(max_length=100_000)]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Id: TypeAlias = Annotated[str, msgspec.Meta(max_length=200)]
Ids: TypeAlias = Annotated[tuple[Id, ...], msgspec.Meta(max_length=1_000)]
Words: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]
MessageId: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
WhenBusy: TypeAlias = Literal["reject", "queue", "interrupt"]


class CreateSession(msgspec.Struct, frozen=True, gc=False):
    """POST /api/sessions."""

    title: Title | None = None
    model: Name | None = None
    system_prompt: Prompt | None = None
    document_ids: Ids | None = None
    private: bool | None = None
    agent_type: Name | None = None
    device: Name | None = None


class UpdateSession(msgspec.Struct, frozen=True, gc=False):
    """PUT /api/sessions/{id}: what is given is changed."""

    title: Title | None = None
    title_is_custom: bool | None = None
    system_prompt: Prompt | None = None
    document_ids: Ids | None = None
    private: bool | None = None
    agent_type: Name | None = None


class SetPrivate(msgspec.Struct, frozen=True, gc=False):
    """PATCH /api/sessions/{id}/private; nothing: the other way round."""

    private: bool | None = None


class MoveHead(msgspec.Struct, frozen=True, gc=False):
    """POST /api/sessions/{id}/head; 0: before the first message."""

    message_id: MessageId


class ForkSession(msgspec.Struct, frozen=True, gc=False):
    """POST /api/sessions/{id}/fork; nothing: with all messages."""

    message_id: MessageId | None = None


class SendMessage(msgspec.Struct, frozen=True, gc=False):
    """POST /api/chat/send. *parent_id*: the message that this one follows, where that isn't the last; 0: anew."""

    session_id: Id
    message: Words
    document_ids: Ids | None = None
    stream: bool = True
    agent_type: Name | None = None
    when_busy: WhenBusy = "reject"
    parent_id: MessageId | None = None


class ConfirmTool(msgspec.Struct, frozen=True, gc=False):
    """POST /api/chat/confirm-tool. Without *confirm_id*: the only prompt of the turn; 409 if it has shown others."""

    session_id: Id
    approved: bool
    confirm_id: Id | None = None
    scope: Literal["once", "session"] | None = None
    reason: Annotated[str, msgspec.Meta(max_length=10_000)] | None = None


class UserInput(msgspec.Struct, frozen=True, gc=False):
    """POST /api/chat/user-input."""

    session_id: Id
    request_id: Id
    value: Annotated[str, msgspec.Meta(max_length=100_000)]


class CancelTurn(msgspec.Struct, frozen=True, gc=False):
    """POST /api/chat/cancel."""

    session_id: Id


class PageSettings(msgspec.Struct, frozen=True, gc=False):
    """PUT /api/settings: what is given is changed, null resets it."""

    custom_model: Annotated[str, msgspec.Meta(max_length=200)] | msgspec.UnsetType | None = msgspec.UNSET
    context_size: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | msgspec.UnsetType | None = msgspec.UNSET
    agent_mode: Annotated[str, msgspec.Meta(max_length=200)] | msgspec.UnsetType | None = msgspec.UNSET
    dynamic_tools: bool | msgspec.UnsetType | None = msgspec.UNSET


class OnboardingDone(msgspec.Struct, frozen=True, gc=False):
    """POST /api/onboarding/complete."""

    skipped: bool = False
