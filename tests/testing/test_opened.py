"""A tool called as a model calls it, and schemas as snapshots."""

import asyncio
from pathlib import Path
from typing import Annotated

import pytest

from gaia_core import Context, ToolError, Toolset, doc, resource, tool
from gaia_core.testing import SnapshotError, check_schemas, opened
from gaia_files import files


@resource()
async def log(path: Path):
    with path.open("w") as file:
        yield file
        file.write("closed")


@tool(effects="write")
async def note(ctx: Context, text: Annotated[str, doc("What to note", max_length=5)], times: int = 1) -> str:
    """Note a text."""
    ctx.progress("noting")
    if text == "no":
        raise ToolError("that can't be noted; give another text")
    ctx.resource.write(text * times)
    return f"Noted {times} times."


@tool(effects="read")
async def ask(ctx: Context) -> str:
    """Ask."""
    return await ctx.ask("Which?", ("a", "b"))


@tool(effects="read")
async def fail() -> str:
    """Fail."""
    raise RuntimeError("secret")


@pytest.fixture
def toolset(tmp_path) -> Toolset:
    return Toolset("notes", (note, ask, fail), resource=log(tmp_path / "log"))


async def test_a_call_goes_the_way_of_a_models(toolset, tmp_path):
    async with opened(toolset) as tools:
        result = await tools.call("note", '{"text": "hi", "times": "2"}')
        assert (result.ok, result.content, result.progress) == (True, "Noted 2 times.", ("noting",))
        assert (await tools.call("note", {"text": "ho"})).ok

    assert (tmp_path / "log").read_text() == "hihihoclosed", "one resource for the session, closed at its end"


async def test_errors_are_what_the_model_reads(toolset):
    async with opened(toolset) as tools:
        invalid = await tools.call("note", '{"text": "too long", "time": 1}')
        assert invalid.outcome == "invalid"
        assert "text" in invalid.content
        assert "time" in invalid.content
        refused = await tools.call("note", '{"text": "no"}')
        assert (refused.outcome, refused.content) == ("error", "Error: that can't be noted; give another text")
        assert (await tools.call("not")).content.startswith("There is no tool 'not'. Did you mean 'note'?")
        failed = await tools.call("fail")
        assert "RuntimeError" in failed.content
        assert "secret" not in failed.content


async def test_approvals_and_questions_are_answered(toolset):
    async with opened(toolset.approving("note")) as tools:
        denied = await tools.call("note", {"text": "a"}, approve=False)
        assert denied.outcome == "denied"
        assert denied.asked == ("note always needs approval",)
        assert (await tools.call("ask", answers=["b"])).content == "b"
        with pytest.raises(AssertionError, match=r"asked 'Which\?'"):
            await tools.call("ask")


async def test_a_call_can_be_cancelled():
    begun = asyncio.Event()

    @tool(effects="read")
    async def hang() -> str:
        """Hang."""
        begun.set()
        await asyncio.Event().wait()

    async with opened(Toolset("t", (hang,))) as tools:
        turn = await tools.start("hang")
        await begun.wait()
        assert (await turn.cancel()).status == "cancelled"


def test_a_snapshot_is_written_on_request_only(tmp_path, monkeypatch):
    path = tmp_path / "files.json"

    with pytest.raises(SnapshotError, match=r"there is no snapshot files\.json yet.*GAIA_SNAPSHOTS=update"):
        check_schemas(files(), path)
    monkeypatch.setenv("GAIA_SNAPSHOTS", "update")
    check_schemas(files(), path)
    monkeypatch.delenv("GAIA_SNAPSHOTS")
    check_schemas(files(), path)
    check_schemas(files().from_package("gaia-toolset-files 9"), path)


def test_a_changed_schema_is_shown_with_what_it_breaks(tmp_path, monkeypatch):
    path = tmp_path / "files.json"
    monkeypatch.setenv("GAIA_SNAPSHOTS", "update")
    check_schemas(files(write=True), path)
    monkeypatch.delenv("GAIA_SNAPSHOTS")

    with pytest.raises(SnapshotError) as changed:
        check_schemas(files(write=True).without("move_file").described(read_file="Other."), path)

    said = str(changed.value)
    assert "- move_file: removed (breaking)" in said
    assert "~ read_file: the description changed" in said
    assert '"Other."' in said
