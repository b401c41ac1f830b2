"""`gaia mcp`: a process of its own, spoken to over its pipes by the official client."""

import sys
from contextlib import asynccontextmanager

import pytest
from click.testing import CliRunner
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError

from gaia_core.nesting import MAX_NESTING
from gaia_http.mcp.cli import mcp

PROGRAM = "from gaia_core.cli import main; main(prog_name='gaia')"


@asynccontextmanager
async def gaia_mcp(folder, *options: str, mode: str = "auto"):
    """The client of a `gaia mcp` that runs in *folder*."""
    environ = {"GAIA_MODEL_URL": "http://127.0.0.1:9/v1", "GAIA_DISCOVER": "0", "HOME": str(folder)}
    server = StdioServerParameters(
        command=sys.executable, args=["-c", PROGRAM, "mcp", *options], env=environ, cwd=folder
    )
    async with Client(server, mode=mode, cache=None) as made:
        yield made


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_toolset_is_listed_and_called(tmp_path, mode):
    (tmp_path / "a.txt").write_text("Remember the milk.\n")
    async with gaia_mcp(tmp_path, "--toolset", "files", mode=mode) as found:
        names = [each.name for each in (await found.list_tools()).tools]
        result = await found.call_tool("read_file", {"path": "a.txt"})

    assert "read_file" in names
    assert "assistant" not in names
    assert not result.is_error
    assert "Remember the milk." in result.content[0].text


async def test_every_agent_is_served_where_nothing_is_named(tmp_path):
    async with gaia_mcp(tmp_path) as found:
        (assistant,) = (await found.list_tools()).tools
        result = await found.call_tool("assistant", {"task": "Help."})

    assert assistant.input_schema["required"] == ["task"]
    assert result.is_error
    assert "assistant failed" in result.content[0].text


def nested(levels: int) -> object:
    value: object = []
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 240])
async def test_a_message_that_is_nested_too_deep_is_answered(tmp_path, levels):
    around = 3  # the message, its params, its arguments
    async with gaia_mcp(tmp_path, "--toolset", "files") as found:
        taken = await found.call_tool("read_file", {"path": nested(MAX_NESTING - around)})
        with pytest.raises(MCPError, match="the message is nested deeper than 128 levels"):
            await found.call_tool("read_file", {"path": nested(levels - around)})
        again = await found.call_tool("read_file", {"path": "none.txt"})

    assert "path: expected a string" in taken.content[0].text
    assert again.is_error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--toolset", "fils"), "there is no toolset 'fils'. Did you mean 'files'?"),
        (("--toolset", "agent:assistent"), "there is no agent 'assistent'. Did you mean 'assistant'?"),
        (("--agent", "nobody"), "there is no agent 'nobody'"),
        (("--toolset", "mcp"), "needs either command"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(mcp, options)

    assert refused.exit_code != 0
    assert words in str(refused.exception)
