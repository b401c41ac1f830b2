"""POST /v1/responses/input_tokens: how many tokens the first model request of a response would have.

The whole of it counts, the agent's own words and tools too, by the model's own template and tokenizer. Where a model
doesn't count, the number is an estimate and `x_gaia` says so: what a context meter shows need not be exact, but who
reads it must be able to know. Nothing is stored, and no model answers.
"""

from typing import Any

from gaia_core import Runtime
from gaia_core.events import ErrorInfo
from gaia_core.models import ModelError
from gaia_http._errors import ApiError
from gaia_http._settings import Settings
from gaia_http.door._caller import Caller
from gaia_http.openai.responses._create_response import ResponseCreation
from gaia_http.openai.responses.input._options import options_of
from gaia_http.openai.responses.input._wire import CreateRequest
from gaia_http.openai.responses.output._response_object import failure_of


async def counted(
    runtime: Runtime, creation: ResponseCreation, request: CreateRequest, caller: Caller, settings: Settings
) -> dict[str, Any]:
    """The object of the count. Raises ApiError."""
    agent, messages = await creation.conversation(request, caller)
    options = options_of(request, agent, settings)
    try:
        usage = await runtime.models.count_tokens(agent, messages, options)
    except ModelError as error:
        told = ErrorInfo(error.kind, str(error), error.retryable, error.retry_after, error.status)
        raise ApiError(failure_of(told, tools_ran=False)) from None
    shown: dict[str, Any] = {"object": "response.input_tokens", "input_tokens": usage.input_tokens}
    return {**shown, "x_gaia": {"estimated": True}} if usage.estimated else shown
