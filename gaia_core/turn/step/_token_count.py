"""How many tokens a request has, before anybody is asked to answer it: counted by the model, or an estimate."""

from gaia_core.messages import TextPart, Usage, wire_bytes
from gaia_core.models import Model, ModelError, ModelRequest
from gaia_core.turn.context._context_budget import CHARS_PER_TOKEN


async def tokens_of(model: Model, request: ModelRequest) -> Usage:
    """The tokens of *request*'s prompt; `estimated` where the model doesn't count.

    Raises ModelError: what the model raises, and "bad_request" for parts that no length in characters says anything of.
    """
    count = getattr(model, "count", None)
    tokens: int | None = await count(request) if count is not None else None
    if tokens is not None:
        return Usage(input_tokens=tokens)
    if any(not _is_text(message.content) for message in request.messages):
        raise ModelError(
            "bad_request", "the model counts no tokens itself, and those of images, audio and files can't be estimated"
        )
    chars = sum(map(len, request.encoded or map(wire_bytes, request.messages)))
    chars += sum(len(tool.encoded) for tool in request.tools)
    return Usage(input_tokens=int(chars / CHARS_PER_TOKEN), estimated=True)


def _is_text(content: object) -> bool:
    return not isinstance(content, tuple) or all(isinstance(part, TextPart) for part in content)
