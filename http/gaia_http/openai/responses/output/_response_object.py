"""The response object, with every key that the API has (source: OpenAI API reference, responses/object).

Left out where the request has none: `user`, and `prompt_cache_options`, which may not be null (source: Open Responses).
"""

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from gaia_core.events import ErrorInfo
from gaia_core.messages import Usage
from gaia_http._errors import ErrorReply, of_turn
from gaia_http.openai.responses._ids import Ref
from gaia_http.openai.responses.stored._request_note import RequestNote

_CODES = frozenset(("rate_limit_exceeded", "context_length_exceeded"))
"""Codes that clients act on: they wait, or put the conversation in short (source: Codex CLI for the second)."""


def usage_of(usage: Usage) -> dict[str, Any]:
    """`usage`, in tokens."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def failure_of(error: ErrorInfo, *, tools_ran: bool) -> ErrorReply:
    """The reply to a turn that failed, with the names that fields have in this API."""
    reply = of_turn(error, tools_ran=tools_ran)
    return attrs.evolve(reply, param="input" if reply.param == "messages" else reply.param)


def error_of(reply: ErrorReply) -> dict[str, Any]:
    """`error` of a response: one of the API's few codes, and the words."""
    if reply.code is not None and reply.code in _CODES:
        code = reply.code
    else:
        code = "invalid_prompt" if reply.status == 400 else "server_error"
    return {"code": code, "message": reply.message}


def response_object(
    ref: Ref,
    note: RequestNote,
    status: str,
    output: Sequence[dict[str, Any]] = (),
    *,
    usage: Usage | None = None,
    error: dict[str, Any] | None = None,
    incomplete: str | None = None,
    completed_at: int | None = None,
) -> dict[str, Any]:
    """The response as it stands."""
    echo: dict[str, Any] = msgspec.json.decode(note.echo)
    return {
        "id": ref.id,
        "object": "response",
        "created_at": note.created,
        "status": status,
        "background": note.background,
        "completed_at": completed_at,
        "error": error,
        "incomplete_details": {"reason": incomplete} if incomplete is not None else None,
        **echo,
        "model": note.model,
        "output": list(output),
        "previous_response_id": note.previous,
        "conversation": {"id": note.conversation} if note.conversation is not None else None,
        "store": note.store,
        "usage": usage_of(usage) if usage is not None else None,
        "access_programs": None,
        "image": None,
        "input_transformations": None,
        "moderation": None,
        "prompt": None,
        "prompt_cache_diagnostics": None,
        "tool_usage": None,
        "top_logprobs": 0,
    }


def incomplete_reason(finish_reason: str) -> str | None:
    """Why an answer that ended by *finish_reason* is not whole; None when it is."""
    return {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish_reason)
