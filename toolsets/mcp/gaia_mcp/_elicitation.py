"""What a server asks in the middle of a call: the user (elicitation), or a model (sampling)."""

from collections.abc import Mapping
from typing import Any

import mcp_types

from gaia_core import Agent, Context, Limits, ToolError

_DECLINE = "decline"
_ACCEPT = "accept"
_TRIES = 3
_WORDS = 2_000
_MOST_FIELDS = 20


async def elicited(ctx: Context[Any], server: str, params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
    """The user's answers to what *server* asks, field by field; `cancel` when nobody is there to answer."""
    try:
        if isinstance(params, mcp_types.ElicitRequestURLParams):
            question = f"{server} asks you to open {params.url[:_WORDS]}: {params.message[:_WORDS]}"
            return mcp_types.ElicitResult(action=_action(await ctx.ask(question, (_ACCEPT, _DECLINE))))
        return await _form(ctx, server, params)
    except ToolError:
        return mcp_types.ElicitResult(action="cancel")


async def _form(ctx: Context[Any], server: str, params: mcp_types.ElicitRequestFormParams) -> mcp_types.ElicitResult:
    schema: Any = params.requested_schema
    if not isinstance(schema, Mapping):
        schema = schema.model_dump(by_alias=True, exclude_none=True)
    fields: dict[str, Any] = dict(schema.get("properties") or {})
    asked = f"{server}: {params.message[:_WORDS]}"
    if not fields:
        return mcp_types.ElicitResult(action=_action(await ctx.ask(asked, (_ACCEPT, _DECLINE))), content={})
    if len(fields) > _MOST_FIELDS:
        return mcp_types.ElicitResult(action="decline")
    required = frozenset(schema.get("required") or ())
    content: dict[str, Any] = {}
    for name, field in fields.items():
        question = f"{asked}\n{_label(name, field)}{'' if name in required else ' (may be left empty)'}"
        try:
            value = await _asked(ctx, question, field, needed=name in required)
        except _DeclinedError:
            return mcp_types.ElicitResult(action="decline")
        if value is not None:
            content[name] = value
    return mcp_types.ElicitResult(action="accept", content=content)


class _DeclinedError(Exception):
    """The user said no, or gave no answer that fits."""


async def _asked(ctx: Context[Any], question: str, field: Mapping[str, Any], *, needed: bool) -> Any:
    """The value of one field; None for one that was left empty. Raises _DeclinedError."""
    options = _options(field)
    words = question
    for _ in range(_TRIES):
        answer = (await ctx.ask(words, (*options, _DECLINE) if options else ())).strip()
        if answer.lower() == _DECLINE:
            raise _DeclinedError
        if not answer and not needed:
            return None
        try:
            return _value(answer, field, options)
        except ValueError as error:
            words = f"{question}\n{answer[:100]!r} does not fit: {error}"
    raise _DeclinedError


def _label(name: str, field: Mapping[str, Any]) -> str:
    title, text = str(field.get("title") or name)[:200], str(field.get("description") or "")[:_WORDS]
    return f"{title}: {text}" if text else title


def _options(field: Mapping[str, Any]) -> tuple[str, ...]:
    if field.get("type") == "boolean":
        return ("true", "false")
    if isinstance(given := field.get("enum"), list):
        return tuple(str(each) for each in given)
    if isinstance(given := field.get("oneOf"), list):
        return tuple(str(each.get("const")) for each in given if isinstance(each, Mapping))
    return ()


def _value(answer: str, field: Mapping[str, Any], options: tuple[str, ...]) -> Any:
    """*answer* as the field's type. Raises ValueError, which says what would fit."""
    kind = field.get("type", "string")
    if kind == "boolean":
        if answer.lower() in ("true", "yes", "y"):
            return True
        if answer.lower() in ("false", "no", "n"):
            return False
        raise ValueError("say true or false")
    if options and answer not in options:
        raise ValueError(f"choose one of {', '.join(options)}")
    if kind in ("integer", "number"):
        try:
            number = int(answer) if kind == "integer" else float(answer)
        except ValueError:
            raise ValueError(f"a {'whole ' if kind == 'integer' else ''}number is wanted") from None
        _check_bounds(number, field, ("minimum", "maximum"), "")
        return number
    if kind == "array":
        return [part.strip() for part in answer.split(",") if part.strip()]
    _check_bounds(len(answer), field, ("minLength", "maxLength"), " characters")
    return answer


def _check_bounds(size: float, field: Mapping[str, Any], names: tuple[str, str], unit: str) -> None:
    least, most = field.get(names[0]), field.get(names[1])
    if isinstance(least, int | float) and size < least:
        raise ValueError(f"at least {least}{unit} are wanted")
    if isinstance(most, int | float) and size > most:
        raise ValueError(f"at most {most}{unit} are wanted")


def _action(answer: str) -> Any:
    return "accept" if answer.strip().lower() in (_ACCEPT, "yes", "true") else "decline"


async def sampled(
    ctx: Context[Any], server: str, model: str, params: mcp_types.CreateMessageRequestParams
) -> mcp_types.CreateMessageResult | mcp_types.ErrorData:
    """What *model* says to the server's messages, as a part of the turn whose call asks: within its limits."""
    asked = "\n\n".join(f"{message.role}: {_text(message.content)}" for message in params.messages)
    limits = Limits(steps=1, tokens=max(1, params.max_tokens) + len(asked))
    agent = Agent(f"{server} (sampling)", instructions=params.system_prompt or "", model=model, limits=limits)
    try:
        text = await ctx.delegate(agent, asked)
    except ToolError as error:
        return mcp_types.ErrorData(code=mcp_types.INTERNAL_ERROR, message=str(error))
    return mcp_types.CreateMessageResult(
        role="assistant", content=mcp_types.TextContent(type="text", text=text), model=model, stop_reason="endTurn"
    )


def _text(content: Any) -> str:
    blocks = content if isinstance(content, list) else [content]
    return "\n".join(str(getattr(block, "text", f"[{getattr(block, 'type', 'content')}]")) for block in blocks)
