"""What real model servers send, row by row: what is run is what was meant, and a failure is never an answer."""

import json

import pytest

from gaia_core import Agent, ApprovalPolicy, Catalog, ConfigError, ModelSpec, Runtime, Toolset, call, tool
from gaia_core.events import ToolEnded
from gaia_core.messages import AssistantMessage
from gaia_core.models import Endpoint, EndpointConfig
from gaia_core.testing import QUIRKS, QuirkyEndpoint
from gaia_core.turn import TurnOptions, TurnRequest

RUN: tuple[tuple[str, dict], ...] = (("delete_file", {"path": "junk.txt"}), ("read_file", {"path": "keep.txt"}))
CALLS = tuple(call(name, **arguments) for name, arguments in RUN)
FAILS = ("error-line", "error-event", "html", "finish-abort", "finish-error", "no-finish", "redirect")
CUT = ("cut-off", "cut-off-stop", "cut-off-done")


class Opened:
    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self) -> Endpoint:
        return Endpoint(EndpointConfig(url=self.url, model="m", retries=0))


async def turn(quirk: str, *answers, options: TurnOptions | None = None):
    """What was run, how the turn ended, what was sent, and the ends of its calls."""
    ran: list[tuple[str, dict]] = []

    @tool(effects="write")
    async def delete_file(path: str = "") -> str:
        """Delete."""
        ran.append(("delete_file", {"path": path}))
        return "deleted"

    @tool(effects="read")
    async def read_file(path: str = "") -> str:
        """Read."""
        ran.append(("read_file", {"path": path}))
        return "it says hello"

    agent = Agent("a", tools=Toolset("t", (delete_file, read_file)), approvals=ApprovalPolicy(effects=()))
    async with QuirkyEndpoint(quirk, *answers) as server:
        catalog = Catalog.of(agent, models={"local": ModelSpec("local", open=Opened(server.url))})
        async with Runtime(catalog) as runtime:
            session = await runtime.open("a")
            request = TurnRequest("go") if options is None else TurnRequest("go", options=options)
            running = await runtime.start(session, request)
            events = [event async for event in running.events()]
        return ran, events[-1], server.requests, [event for event in events if isinstance(event, ToolEnded)]


@pytest.mark.parametrize("quirk", [name for name in QUIRKS if name not in (*FAILS, *CUT, "arguments-null")])
async def test_what_is_run_is_what_was_meant(quirk):
    ran, ended, _, _ = await turn(quirk, CALLS, "Done.")

    assert sorted(ran) == sorted(RUN)
    assert (ended.status, ended.text.strip()) == ("completed", "Done.")


@pytest.mark.parametrize("quirk", [name for name in QUIRKS if name not in (*FAILS, *CUT)])
async def test_what_is_said_is_what_was_meant(quirk):
    _, ended, _, _ = await turn(quirk, AssistantMessage("Hello there", reasoning_content="Hm"))

    assert (ended.status, ended.text.strip()) == ("completed", "Hello there")


@pytest.mark.parametrize("quirk", FAILS)
async def test_a_failure_is_never_an_answer(quirk):
    ran, ended, _, _ = await turn(quirk, "Half an answer")

    assert ended.status == "failed"
    assert ran == []


@pytest.mark.parametrize(
    ("quirk", "words"),
    [
        ("error-line", "Failed to parse tool call"),
        ("error-event", "Failed to parse tool call"),
        ("html", "web page"),
        ("finish-abort", "'abort'"),
        ("finish-error", "'error'"),
        ("redirect", "307"),
    ],
)
async def test_a_failure_has_the_servers_words(quirk, words):
    _, ended, _, _ = await turn(quirk, "x")

    assert words in ended.error.message


@pytest.mark.parametrize("quirk", CUT)
async def test_a_call_that_is_cut_off_is_not_run_and_the_model_is_told(quirk):
    ran, ended, sent, ends = await turn(quirk, CALLS, "Done.")

    assert ran == [RUN[0]]
    (refused,) = [end for end in ends if end.outcome == "invalid"]
    assert "cut off before their end" in refused.content
    assert ended.status == "completed"
    # What is sent back is valid for a strict server.
    (message,) = [message for message in sent[1]["messages"] if message.get("tool_calls")]
    assert [json.loads(made["function"]["arguments"]) for made in message["tool_calls"]] == [RUN[0][1], {}]


async def test_arguments_of_null_are_none():
    ran, _, _, _ = await turn("arguments-null", CALLS, "Done.")

    assert ran == [("delete_file", {"path": ""}), ("read_file", {"path": ""})]


@pytest.mark.parametrize("quirk", CUT)
async def test_a_clients_call_that_is_cut_off_ends_the_turn_with_an_error(quirk):
    @tool(effects="write")
    async def write_file(path: str, text: str) -> None:
        """Write."""

    options = TurnOptions(client_tools=(write_file.definition,))
    _, ended, _, _ = await turn(quirk, call("write_file", path="a", text="half of it"), options=options)

    assert ended.status == "failed"
    assert ended.client_calls == ()
    assert "write_file" in ended.error.message
    assert "cut off" in ended.error.message


@pytest.mark.parametrize("written", ["path=a.txt", '["a.txt"]', "<path>a</path>", '{"path": "a"} {"path": "b"}', '"a"'])
async def test_what_is_no_object_is_refused_and_sent_back_as_an_empty_one(written):
    from gaia_core.messages import FunctionCall, ToolCall

    ran, ended, sent, _ = await turn("plain", ToolCall("c", FunctionCall("read_file", written)), "Done.")

    assert ran == []
    assert ended.status == "completed"
    (message,) = [message for message in sent[1]["messages"] if message.get("tool_calls")]
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"


async def test_a_model_that_calls_what_is_not_there_is_told_the_clients_tools_too():
    @tool(effects="read")
    async def look_up(word: str) -> None:
        """Look up."""

    options = TurnOptions(client_tools=(look_up.definition,))
    _, _, _, ends = await turn("plain", call("lookup", word="x"), "Done.", options=options)

    assert "Did you mean 'look_up'?" in ends[0].content
    assert ends[0].content.endswith("Tools: delete_file, read_file, look_up")


async def test_an_unknown_quirk_is_named():
    with pytest.raises(ConfigError, match="Did you mean 'index-0'"):
        QuirkyEndpoint("index0")
