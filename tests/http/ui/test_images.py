"""Images of a tool's result on the UI API: in the frame of the result, and in the message's steps."""

import base64

from gaia_core import Agent, Image, ToolOutput, Toolset, call, tool

PNG = b"\x89PNG" + b"\x00" * 996
SHOWN = {
    "render": {"type": "images"},
    "data": {
        "images": [
            {
                "url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
                "content_type": "image/png",
                "size": 1_000,
            }
        ]
    },
}


@tool(effects="read")
async def screenshot() -> ToolOutput:
    """Show the screen."""
    return ToolOutput("The screen.", (Image("image/png", PNG),))


async def test_a_page_is_shown_the_images_live_and_later(ui):
    client = await ui(call("screenshot"), "A page.", agents=(Agent("a", tools=Toolset("t", (screenshot,))),))
    session = await client.session()
    frames = [data for _, data in await client.send(session)]

    (result,) = [data for data in frames if data["type"] == "tool_result"]
    assert {key: result[key] for key in SHOWN} == SHOWN
    assert result["summary"] == "The screen.\n[image, 1 KB, image/png]"
    (_, answer) = (await client.get(f"/api/sessions/{session}/messages"))["messages"]
    (step,) = [step for step in answer["agent_steps"] if step["type"] == "tool"]
    assert {key: step[key] for key in SHOWN} == SHOWN
