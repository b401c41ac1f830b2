"""What a server's result is to the model."""

import base64

import mcp_types
import pytest

from gaia_core import Image
from gaia_mcp._result_text import output_of


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
    assert output_of(mcp_types.CallToolResult(content=content, structured_content=structured)).text == read


PNG = b"\x89PNG" + b"\x00" * 996
ENCODED = base64.b64encode(PNG).decode()


def test_images_stand_beside_the_text_which_names_them_in_their_place():
    content = [
        mcp_types.TextContent(type="text", text="before"),
        mcp_types.ImageContent(type="image", data=ENCODED, mime_type="image/png"),
        mcp_types.TextContent(type="text", text="after"),
        mcp_types.EmbeddedResource(
            type="resource",
            resource=mcp_types.BlobResourceContents(uri="file:///a.png", blob=ENCODED, mime_type="image/png"),
        ),
    ]
    output = output_of(mcp_types.CallToolResult(content=content))

    assert output.text == "before\n[image, 1 KB, image/png]\nafter\n[image, 1 KB, image/png]"
    assert output.images == (Image("image/png", PNG),) * 2


def test_an_image_beside_structured_content_leaves_both():
    content = [mcp_types.ImageContent(type="image", data=ENCODED, mime_type="image/png")]
    output = output_of(mcp_types.CallToolResult(content=content, structured_content={"rows": 2}))

    assert output.text == '[image, 1 KB, image/png]\n{"rows":2}'
    assert len(output.images) == 1


def test_what_is_no_base64_is_named_and_is_no_image():
    content = [mcp_types.ImageContent(type="image", data="!!", mime_type="image/png")]
    output = output_of(mcp_types.CallToolResult(content=content))

    assert output.images == ()
    assert output.text == "[image: image/png, 1 bytes]"
