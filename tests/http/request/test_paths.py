"""The checks of the request room name values by the paths that a protocol gives them, whatever that protocol is."""

import msgspec
import pytest

from gaia_core import Agent
from gaia_core.messages import FunctionCall, ImagePart, ImageURL, TextPart, ToolCall, ToolMessage
from gaia_core.models import ToolChoice
from gaia_http import Settings
from gaia_http._errors import ApiError
from gaia_http.request._client_tools import ClientFunction, OfferedTools, offered_tools
from gaia_http.request._content_parts import PartPaths, PartTypes, PlacedPart, check_part_type, image_part
from gaia_http.request._metadata import check_metadata
from gaia_http.request._response_format import schema_format
from gaia_http.request._sampling import stop_sequences, token_limit
from gaia_http.request._tool_results import OpenCalls, attachments, tool_result

NOTHING = msgspec.Raw(b"")
TYPES = PartTypes("text", "image", "sound", "document", "refusal")


def refusal(check, *args, **named) -> tuple[str | None, str | None, str]:
    """What a check refuses: the path, the code and the message."""
    with pytest.raises(ApiError) as refused:
        check(*args, **named)
    reply = refused.value.reply
    return reply.param, reply.code, reply.message


# A protocol of our own, whose tools are {"name", "input_schema"}.


def read(tool: dict, path: str) -> ClientFunction | None:
    if "name" not in tool:
        return None
    return ClientFunction(
        name=tool["name"],
        description=tool.get("description"),
        parameters=msgspec.Raw(msgspec.json.encode(tool["input_schema"])),
        name_path=f"{path}.name",
        parameters_path=f"{path}.input_schema",
    )


def choose(raw: msgspec.Raw, offered: OfferedTools) -> OfferedTools:
    mode, _, name = msgspec.json.decode(raw, type=str).partition(":")
    return offered.forced("choice.name", name) if name else offered.by_mode("choice.type", mode)


def offered(tools: list[dict], choice: str | None = None, agent: Agent | None = None) -> OfferedTools:
    raw = msgspec.Raw(msgspec.json.encode(choice))
    return offered_tools(tools, read, raw, choose, agent or Agent("a"), Settings())


def named(*names: str, schema: object = None) -> list[dict]:
    return [{"name": name, "input_schema": schema if schema is not None else {}} for name in names]


def test_tools_are_offered_as_the_choice_says():
    hosted = {"type": "search"}

    assert [tool.name for tool in offered([hosted, *named("f", "g")]).tools] == ["f", "g"]
    assert offered(named("f"), "none") == OfferedTools()
    assert offered(named("f", "g"), "auto:g").choice == ToolChoice("required", "g")
    assert [tool.name for tool in offered(named("f", "g")).only([("x", "g")]).tools] == ["g"]


@pytest.mark.parametrize(
    ("tools", "choice", "path"),
    [
        (named("no good"), None, "tools[0].name"),
        (named("f", "f"), None, "tools[1].name"),
        (named("f", schema=[]), None, "tools[0].input_schema"),
        (named("f"), "auto:g", "choice.name"),
        (named("f"), "sometimes", "choice.type"),
        ([], "required", "choice.type"),
    ],
)
def test_tools_and_choices_are_refused_by_their_own_paths(tools, choice, path):
    param, _, message = refusal(offered, tools, choice)

    assert param == path
    assert message.startswith(f"{path}: ")


def test_an_agent_that_ignores_client_tools_reads_neither_them_nor_the_choice():
    assert offered(named("no good"), "sometimes", Agent("a", client_tools="ignore")) == OfferedTools()


# Contents.


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("user", ("text", "image", "sound", "document")),
        ("assistant", ("text", "refusal")),
        ("system", ("text",)),
        ("tool", ("text",)),
    ],
)
def test_what_a_message_may_have_is_said_in_the_words_of_the_protocol(role, allowed):
    assert TYPES.allowed(role) == allowed

    param, code, message = refusal(check_part_type, "turns[2].blocks[0]", "film", TYPES.allowed(role), role)

    assert (param, code) == ("turns[2].blocks[0].type", "unsupported_content_type")
    assert message.endswith(f"role {role!r}; it may be {' or '.join(allowed)}")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "data:image/png,raw", "data:image/png;base64,@@", ""])
def test_an_image_that_is_no_data_and_not_of_the_web_is_refused(url):
    assert refusal(image_part, "blocks[0].source.url", url, None)[:2] == ("blocks[0].source.url", "invalid_value")


def test_results_answer_the_calls_before_them_once():
    calls = OpenCalls()
    calls.begin("turns[0].uses", (ToolCall("c1", FunctionCall("f", "{}")),))

    assert calls.answer("turns[1].for", "c1") == "c1"
    for call_id, words in (("c1", "already has a result"), ("c2", "is not a call"), (None, "is missing")):
        param, _, message = refusal(calls.answer, "turns[2].for", call_id)
        assert param == "turns[2].for"
        assert words in message

    calls.begin("turns[3].uses", ())
    assert "is not a call" in refusal(calls.answer, "turns[4].for", "c1")[2]


def test_images_of_results_follow_them_as_a_users():
    image = PlacedPart(ImagePart(ImageURL("data:,")), PartPaths("turns[1].result[1]", "image"))
    text = PlacedPart(TextPart("seen"), PartPaths("turns[1].result[0]", "text"))
    both, alone = tool_result("turns[1]", "c1", (text, image)), tool_result("turns[2]", "c2", (image,))

    shown = attachments([both, tool_result("turns[3]", "c3", "words"), alone])

    assert both.message == ToolMessage((TextPart("seen"),), "c1")
    assert alone.message == ToolMessage("The result is attached.", "c2")
    assert [type(each.part) for each in shown] == [TextPart, ImagePart, TextPart, ImagePart]
    assert [each.paths.path for each in shown] == ["turns[1]", "turns[1].result[1]", "turns[2]", "turns[1].result[1]"]
    assert attachments([tool_result("turns[3]", "c3", "words")]) == ()


# Options.


@pytest.mark.parametrize(("limit", "most"), [(None, None), (-1, None), (5, 5)])
def test_a_token_limit_may_be_spelled_as_none(limit, most):
    assert token_limit("options.num_predict", limit, unlimited=-1) == most


def test_options_are_refused_by_their_own_paths():
    form = {"name": "x", "name_path": "format.title"}

    assert refusal(token_limit, "options.num_predict", -1)[0] == "options.num_predict"
    assert refusal(stop_sequences, "stop_sequences", tuple("abcde"))[0] == "stop_sequences"
    assert refusal(schema_format, "format", msgspec.Raw(b"[1]"), Settings(), **form)[0] == "format"
    assert refusal(schema_format, "format", NOTHING, Settings(), **{**form, "name": ""})[0] == "format.title"
    assert refusal(check_metadata, {"k" * 65: ""}, "notes")[::2] == (
        "notes",
        f"notes entry '{'k' * 30}…' is too long (key: 64 characters at most, value: 512)",
    )
