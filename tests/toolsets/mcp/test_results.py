"""What a server's result is to the model."""

import mcp_types
import pytest

from gaia_mcp._result_text import result_text


@pytest.mark.parametrize(
    ("texts", "structured", "read"),
    [
        ((), {"rows": 2}, '{"rows":2}'),
        (("2 rows",), {"rows": 2}, '2 rows\n{"rows":2}'),
        (('{ "rows": 2 }',), {"rows": 2}, '{ "rows": 2 }'),
        (("sunny",), {"result": "sunny"}, "sunny"),
        (("[1, 2]",), {"result": [1, 2]}, "[1, 2]"),
        (("a", "b"), {"result": ["a", "b"]}, 'a\nb\n{"result":["a","b"]}'),
    ],
)
def test_structured_content_is_read_once(texts, structured, read):
    content = [mcp_types.TextContent(type="text", text=text) for text in texts]
    assert result_text(mcp_types.CallToolResult(content=content, structured_content=structured)) == read
