"""What a server answers, as the model reads it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from gaia_core import NestingError, ToolError
from gaia_core.nesting import decode_json, encode_json

if TYPE_CHECKING:
    import mcp_types


def text_of(blocks: "Iterable[mcp_types.ContentBlock]") -> str:
    """Content as the model reads it: texts, and what can't be shown in words."""
    return "\n".join(_block(block) for block in blocks)


def _block(block: Any) -> str:
    kind = getattr(block, "type", "")
    if kind == "text":
        return str(block.text)
    if kind in ("image", "audio"):
        return f"[{kind}: {block.mime_type}, {len(block.data) * 3 // 4} bytes]"
    if kind == "resource":
        return resource_text(block.resource)
    if kind == "resource_link":
        return f"[resource: {block.uri} ({block.name})]"
    return f"[{kind or type(block).__name__}]"


def resource_text(contents: Any) -> str:
    """A resource's contents as the model reads them."""
    if (text := getattr(contents, "text", None)) is not None:
        return str(text)
    size = len(getattr(contents, "blob", "")) * 3 // 4
    return f"[{contents.uri}: {contents.mime_type or 'binary data'}, {size} bytes]"


def result_text(result: "mcp_types.CallToolResult") -> str:
    """A call's result as the model reads it. Raises ToolError where the server says that the call failed."""
    text = text_of(result.content)
    if result.structured_content is not None:
        try:
            structured = encode_json(result.structured_content).decode()
        except NestingError as error:
            raise ToolError(f"the server's result is {error}") from None
        # The protocol has servers repeat it as a text; where they don't, the model needs both.
        if not any(_holds(block, result.structured_content) for block in result.content):
            text = f"{text}\n{structured}" if text else structured
    if result.is_error:
        raise ToolError(text or "the server says that the call failed, and not why")
    return text or "Done."


def _holds(block: Any, value: Any) -> bool:
    """Whether a block's text is *value* as JSON, or the value itself where that is wrapped as `{"result": …}`."""
    if getattr(block, "type", "") != "text":
        return False
    wrapped = value.get("result") if isinstance(value, dict) and list(value) == ["result"] else value
    if wrapped == block.text:
        return True
    try:
        return decode_json(block.text.encode()) in (value, wrapped)
    except (msgspec.DecodeError, NestingError, ValueError):
        return False
