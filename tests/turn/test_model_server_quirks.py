"""An agent with servers that bend the protocol: what is run is what was meant, or nothing; failures are failures."""

import json
from contextlib import asynccontextmanager

import pytest

from gaia_core import Agent, Catalog, Limits, Runtime, Toolset, call, tool
from gaia_core.events import ReasoningDelta, TextDelta, ToolEnded, TurnEnded
from gaia_core.messages import is_json_object
from gaia_core.models import Endpoint, EndpointConfig, ResponseFormat
from gaia_core.testing import QUIRKS, quirky_endpoint
from gaia_core.tools import ToolDefinition
from gaia_core.turn import TurnOptions

DELETE, READ = call("delete_file", path="junk.txt"), call("read_file", path="keep.txt")


class Ran:
    """What a turn did: the calls that ran, what was told, and how it ended."""

    def __init__(self, ran, events, requests) -> None:
        self.ran = ran
        self.events = events
        self.requests = requests
        self.ended: TurnEnded = events[-1]

    def text(self, kind=TextDelta) -> str:
        return "".join(event.text for event in self.events if isinstance(event, kind))

    @property
    def results(self) -> list[tuple[str, str]]:
        return [(event.outcome, event.content) for event in self.events if isinstance(event, ToolEnded)]


@asynccontextmanager
async def agent_with(server, ran):
    @tool(effects="read")
    async def delete_file(path: str) -> str:
        """Delete a file."""
        ran.append(("delete_file", path))
        return "Deleted."

    @tool(effects="read")
    async def read_file(path: str) -> str:
        """Read a file."""
        ran.append(("read_file", path))
        return "Contents."

    @tool(effects="read")
    async def list_files() -> str:
        """List the files."""
        ran.append(("list_files", ""))
        return "keep.txt"

    agent = Agent("agent", tools=Toolset("files", (delete_file, read_file, list_files)), limits=Limits(steps=6))
    model = Endpoint(EndpointConfig(url=server.url, backoff=0.001))
    try:
        async with Runtime(Catalog.of(agent, models={"local": model})) as runtime:
            yield runtime, agent
    finally:
        await model.aclose()


@pytest.fixture
def turn():
    async def turn(quirk, *replies, **options) -> Ran:
        ran: list[tuple[str, str]] = []
        async with quirky_endpoint(quirk, *replies) as server, agent_with(server, ran) as (runtime, agent):
            events = [event async for event in runtime.turn(agent, "Go on.", options=TurnOptions(**options))]
            return Ran(ran, events, server.requests)

    return turn


TWO_CALLS = [
    *("plain", "calls_share_index", "calls_without_index", "calls_without_ids", "calls_interleaved"),
    *("arguments_repeated", "arguments_object", "arguments_json_in_json", "arguments_fenced", "call_in_text"),
    *("names_prefixed", "names_dashed", "strict_arguments", "think_tags", "finish_unknown", "usage_decimals"),
    *("usage_text", "integer_ids", "line_ends_cr", "line_ends_crlf", "byte_by_byte"),
]


@pytest.mark.parametrize("quirk", TWO_CALLS)
async def test_two_calls_are_run_as_they_were_meant(turn, quirk):
    told = await turn(quirk, (DELETE, READ), "Done")

    assert sorted(told.ran) == [("delete_file", "junk.txt"), ("read_file", "keep.txt")]
    assert (told.ended.status, told.text().strip()) == ("completed", "Done")


@pytest.mark.parametrize("quirk", ["arguments_null", "arguments_empty", "plain"])
async def test_a_call_without_arguments_is_one(turn, quirk):
    assert (await turn(quirk, call("list_files"), "Done")).ran == [("list_files", "")]


CUT = ["cut_off_tool_calls", "cut_off_stop", "cut_off_done", "call_in_text_cut_off"]


@pytest.mark.parametrize("quirk", CUT)
async def test_a_call_that_is_cut_off_is_not_run_and_the_model_is_told(turn, quirk):
    told = await turn(quirk, DELETE, "I see")

    assert told.ran == []
    ((outcome, content),) = told.results
    assert outcome == "invalid"
    assert "cut off" in content
    sent = [made for message in told.requests[1]["messages"] for made in message.get("tool_calls") or ()]
    assert [is_json_object(made["function"]["arguments"]) for made in sent] == [True]
    assert told.ended.status == "completed"


FAILURES = [
    ("error_line", "out of memory"),
    ("html", "web page (HTML)"),
    ("html_as_stream", "web page (HTML)"),
    ("finish_abort", "abort"),
    ("finish_error", "error"),
    ("no_finish", "broke off"),
]


@pytest.mark.parametrize(("quirk", "words"), FAILURES)
async def test_a_failure_is_never_a_finished_answer(turn, quirk, words):
    told = await turn(quirk, "Half an ans")

    assert told.ended.status == "failed"
    assert words in told.ended.error.message


@pytest.mark.parametrize("quirk", ["finish_abort", "finish_error", "no_finish"])
async def test_no_call_of_an_answer_that_failed_is_run(turn, quirk):
    assert (await turn(quirk, DELETE)).ran == []


@pytest.mark.parametrize("quirk", ["usage_decimals", "usage_text"])
async def test_odd_usage_is_counted(turn, quirk):
    usage = (await turn(quirk, "Hello")).ended.usage

    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (10, 10, False)


async def test_a_thought_in_tags_is_apart_from_the_text(turn):
    told = await turn("think_tags", "Hello")

    assert (told.text(), told.text(ReasoningDelta)) == ("Hello", "I should look first.")
    assert told.ended.text == "Hello"  # of which the title of the session is made


async def test_a_thought_without_an_end_is_no_answer(turn):
    told = await turn("think_unclosed", "Hello")

    assert (told.text(), told.text(ReasoningDelta)) == ("", "I should look first.")


async def test_a_json_answer_after_a_thought_is_the_answer_only(turn):
    told = await turn("think_tags", '{"a": 1}', response_format=ResponseFormat("json_object"))

    assert json.loads(told.ended.text) == {"a": 1}


def offered() -> ToolDefinition:
    @tool
    async def write_note(text: str) -> None:
        """Write a note."""

    return write_note.definition


@pytest.mark.parametrize("quirk", CUT)
async def test_a_clients_call_that_is_cut_off_ends_the_turn_with_an_error(turn, quirk):
    told = await turn(quirk, call("write_note", text="Buy milk"), client_tools=(offered(),))

    assert (told.ended.status, told.ended.error.type) == ("failed", "incomplete_call")
    assert "cut off" in told.ended.error.message


@pytest.mark.parametrize(
    "quirk", ["plain", "calls_share_index", "arguments_object", "arguments_repeated", "think_tags"]
)
async def test_a_clients_call_has_the_arguments_that_were_meant(turn, quirk):
    told = await turn(quirk, call("write_note", text="Buy milk"), client_tools=(offered(),))

    assert [json.loads(made.arguments) for made in told.ended.client_calls] == [{"text": "Buy milk"}]


async def test_a_call_of_an_unknown_tool_is_told_the_clients_tools_too(turn):
    told = await turn("plain", call("write_notes", text="x"), "I see", client_tools=(offered(),))

    ((outcome, content),) = told.results
    assert outcome == "unknown_tool"
    assert "Did you mean 'write_note'?" in content
    assert content.endswith("Tools: delete_file, list_files, read_file, write_note")


async def test_an_unknown_quirk_is_refused_with_the_nearest():
    with pytest.raises(Exception, match="calls_share_index"):
        async with quirky_endpoint("calls_share_indx"):
            pass


def test_each_quirk_says_what_it_is_and_has_a_name_of_its_own():
    assert len({quirk.name for quirk in QUIRKS}) == len(QUIRKS)
    assert all(quirk.servers and quirk.shape and quirk.meant for quirk in QUIRKS)
