"""Running a turn for its answer: what is asked, and the answer or the error that comes of its end."""

from typing import Any

import attrs

from gaia_core.errors import ArgumentsError, ConfigError, GaiaError
from gaia_core.events import LimitReached, TurnEnded
from gaia_core.frozen_types import shown
from gaia_core.messages import Content
from gaia_core.models import ResponseFormat
from gaia_core.tools import AnswerType, answer_type
from gaia_core.turn import Audience, Turn, TurnOptions, TurnRequest, check_format


class TurnError(GaiaError):
    """A turn ended without the answer that `run` was to return. *ended* says how, and what there is of a text."""

    def __init__(self, message: str, ended: TurnEnded) -> None:
        super().__init__(message)
        self.ended = ended


def request_for(
    content: Content, answer: Any, options: TurnOptions, audience: Audience
) -> tuple[TurnRequest, AnswerType[Any] | None]:
    """The request for an answer of the type *answer*, and what reads its text (None: the text is the answer)."""
    if answer is str:
        return TurnRequest(content, audience, options), None
    if options.response_format is not None:
        raise ConfigError("give answer= or TurnOptions.response_format, not both: the answer's type is the format")
    form = answer_type(answer)
    wanted = ResponseFormat("json_schema", form.schema, form.name)
    check_format(wanted)
    formed = attrs.evolve(options, response_format=wanted)
    return TurnRequest(content, audience, formed, check_answer=form.problems), form


async def answer_of(turn: Turn, form: AnswerType[Any] | None) -> Any:
    """The answer of *turn*, when it has ended. Raises TurnError when there is none."""
    limit = ""
    async for event in turn.events():
        if isinstance(event, LimitReached):
            limit = event.message
    ended = await turn.result()
    if ended.status != "completed":
        raise TurnError(_words(ended, limit), ended)
    if form is None:
        return ended.text
    try:
        return form.read(ended.text)
    except ArgumentsError as error:
        raise TurnError(
            f"the answer was not finished ({ended.finish_reason}), so it is no {form.name}: {shown(ended.text)}"
            if ended.finish_reason != "stop"
            else f"the answer is no {form.name}: {'; '.join(error.problems)}",
            ended,
        ) from None


def _words(ended: TurnEnded, limit: str) -> str:
    if ended.status == "failed" and ended.error is not None:
        return ended.error.message
    if ended.status == "tool_calls":
        names = ", ".join(call.name for call in ended.client_calls)
        return f"the model called client tools ({names}), which `run` can't run: use Runtime.start and TurnEnded"
    if ended.status == "limit":
        return f"the turn was stopped without an answer: {limit or 'a limit is reached'}; see Agent(limits=Limits(…))"
    return f"the turn was {ended.status}"
