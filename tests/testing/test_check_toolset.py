"""`check_toolset` passes a toolset that keeps the nine promises, and says of others which they break, and how."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from gaia_core.testing import PROMISES, ConformanceError, check_toolset
from gaia_files import files

# One planted fault for each promise: the toolset, and what is said.
FAULTS = {
    "frozen": ("not_frozen", "toolset.members[0].tool.handler closure: list can be changed"),
    "repeatable": ("not_repeatable", "the same arguments give other definitions each time"),
    "no module state": ("with_module_state", "planted.CALLS is a list"),
    "deterministic schema": ("not_deterministic", "another process, with another hash seed, gives other definitions"),
    "closes what it opens": ("not_closing", "the file or socket pipe:["),
    "cancellation": ("not_surviving", "after locked({}) was cancelled, locked({}) hangs"),
    "timeout": ("not_timely", "busy({}) still runs 0.6 s after its time of 0.25 s"),
    "result size": ("not_bounded", "flood({}) gave 1000001 characters; give at most 1000000"),
    "errors in words": ("not_in_words", 'read({"path":"no such thing"}) raised FileNotFoundError('),
}


@pytest.fixture
def planted(monkeypatch):
    """The module of planted toolsets, as an installed package has it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield import_module("planted")
    sys.modules.pop("planted")


def test_there_is_a_fault_for_each_promise():
    assert tuple(FAULTS) == PROMISES
    assert len(PROMISES) == 9


@pytest.mark.parametrize("promise", PROMISES)
def test_a_planted_fault_is_found_and_said(promise, planted):
    factory, words = FAULTS[promise]
    grace = 0.6 if promise in ("timeout", "cancellation") else 5.0

    with pytest.raises(ConformanceError) as broken:
        check_toolset(getattr(planted, factory), grace=grace, package="planted" if "state" in promise else "none")

    said = [fault.words for fault in broken.value.faults if fault.promise == promise]
    assert any(words in each for each in said), broken.value
    assert f"- {promise}: " in str(broken.value)


def test_a_toolset_that_keeps_its_promises_passes(planted):
    checked = check_toolset(
        planted.fine, lambda folder: {"path": folder}, slow={"wait": {}}, package="none", calls={"greet": {"name": "A"}}
    )

    assert checked.called == ("greet", "wait")


def test_a_tool_that_does_more_than_read_is_not_called_unasked(planted):
    with pytest.raises(ValueError, match="tool 'write': give a valid call in calls=, or name it in uncalled="):
        check_toolset(planted.writing)
    with pytest.raises(ValueError, match="the call of 'write' that was given does not fit"):
        check_toolset(planted.writing, calls={"write": {"path": 3}})
    with pytest.raises(ValueError, match=r"no tool 'wirte'\. Did you mean 'write'"):
        check_toolset(planted.writing, uncalled=["wirte"])

    assert check_toolset(planted.writing, uncalled=["write"], package="none").called == ()
    assert check_toolset(planted.writing, calls={"write": {"path": "a"}}, package="none").called == ("write",)


def test_our_own_files_keep_their_promises():
    def arguments(folder: Path) -> dict:
        (folder / "a.txt").write_text("one\ntwo\n")
        return {"root": folder, "write": True}

    written = {"path": "b.txt", "content": "x"}
    checked = check_toolset(
        files,
        arguments,
        calls={
            "read_file": {"path": "a.txt"},
            "file_info": {"path": "a.txt"},
            "find_files": {"name": "a"},
            "search_files": {"text": "two"},
            "list_files": {"path": "."},
            "write_file": written,
            "make_folder": {"path": "c"},
        },
        uncalled=("edit_file", "move_file", "delete_file"),
    )

    assert len(checked.called) == 7
