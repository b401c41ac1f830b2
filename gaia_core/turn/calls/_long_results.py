"""Long results: the model is shown the beginning, and reads the rest by the tool `read_result` when it needs it."""

from typing import Annotated

from gaia_core.errors import ToolError
from gaia_core.tool_output import Image, naming
from gaia_core.tools import Context, doc, nearest, tool
from gaia_core.turn.context._transcript import Transcript

MOST_CHARS = 2_000_000
"""Characters of a result that are kept at all."""

READ_RESULT = "read_result"


def shortened(content: str, limit: int, call_id: str, images: tuple[Image, ...] = ()) -> tuple[str, str | None]:
    """*content* as the model reads it, and the whole when that is more: its first *limit* characters and a handle. It
    names all of the result's *images* in any case."""
    if len(content) <= limit:
        return content, None
    rest = (
        f"\n… {len(content) - limit} more characters were left out; "
        f'{READ_RESULT}(call_id="{call_id}", offset={limit}) reads on.'
    )
    return naming(content[:limit] + rest, images), content[:MOST_CHARS]


@tool(name=READ_RESULT, effects=(), idempotent=True)
async def read_result(
    ctx: Context[tuple[Transcript, int]],
    call_id: Annotated[str, doc("The id that the shortened result names")],
    offset: Annotated[int, doc("The first character to read", ge=0)] = 0,
) -> str:
    """Read on in a tool's result that was too long to be shown whole."""
    transcript, limit = ctx.resource
    full = transcript.full.get(call_id)
    if full is None:
        known = ", ".join(transcript.full) or "none"
        raise ToolError(f"no result of {call_id!r} is kept.{nearest(call_id, transcript.full)} Kept: {known}")
    if offset >= len(full):
        raise ToolError(f"the result has {len(full)} characters; offset {offset} is behind its end")
    room = max(1, limit - 200)  # for the words below
    part = full[offset : offset + room]
    left = len(full) - offset - len(part)
    return part if not left else f'{part}\n… {left} more; {READ_RESULT}(call_id="{call_id}", offset={offset + room})'
