"""The Anthropic Messages API, which Claude Code and its kin speak: a third translator of the same events.

| module | what it owns |
|---|---|
| `_messages` | POST /v1/messages and /v1/messages/count_tokens: a request's way to a turn |
| `_wire`, `_message_reader`, `_blocks`, `_options` | the request → transcript and options |
| `_stream_events`, `_message_object` | events → server-sent events, and one object |
| `_models` | GET /v1/models, when `anthropic-version` is sent |

An agent is a model; its own tools run here and are shown as thinking, where the client asked for that. A call that
needs approval is denied, as on chat completions. Begin with `_messages`.
"""

from litestar.handlers import BaseRouteHandler

from gaia_core import Runtime
from gaia_http._settings import Settings
from gaia_http.anthropic._messages import Messages
from gaia_http.door._idempotency import Idempotency
from gaia_http.door._post_route import post_handler
from gaia_http.operations._metrics import HttpCounts
from gaia_http.request._part_converter import PartConverter


def message_handlers(
    settings: Settings, runtime: Runtime, counts: HttpCounts, parts: PartConverter, idempotency: Idempotency
) -> tuple[BaseRouteHandler, ...]:
    """The routes of the API but for the models, which share theirs with the OpenAI API."""
    messages = Messages(runtime, settings, counts, parts, idempotency)
    return (
        post_handler("/v1/messages", messages.create),
        post_handler("/v1/messages/count_tokens", messages.count_tokens),
    )
