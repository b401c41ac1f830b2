"""Whatever is opened is closed: also when what follows fails, is cancelled, or when closing something else fails."""

import asyncio
import sqlite3
import threading
from contextlib import suppress

import pytest

from gaia_core import Agent, Catalog, ClosedError, JournalError, ModelSpec, Runtime, ScriptedModel
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.open_in_thread import opened_in_thread


class Sick(SQLiteJournal):
    """Opens, and then takes no heartbeat: another process holds the file, say.."""

    async def beat(self, *args, **kwargs):
        raise JournalError("the journal can't be written")


class Slow(SQLiteJournal):
    """Opens, and then takes a heartbeat for ever."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.beating = asyncio.Event()

    async def beat(self, *args, **kwargs):
        self.beating.set()
        await asyncio.Event().wait()


class Stubborn:
    """A model whose closing may fail."""

    def __init__(self, *, fails: bool) -> None:
        self.fails = fails
        self.closed = False

    async def stream(self, request):
        yield ()

    async def aclose(self) -> None:
        self.closed = True
        if self.fails:
            raise OSError("it hangs")


def catalog(**models):
    opened = models or {"local": ScriptedModel(lambda request: "Hello")}
    return Catalog.of(Agent("a"), models={name: ModelSpec(name, open=lambda m=m: m) for name, m in opened.items()})


def writers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("gaia journal")]


async def is_closed(journal: SQLiteJournal) -> bool:
    with suppress(ClosedError):
        await journal.get("", "x")
        return False
    return True


async def test_a_runtime_that_cannot_begin_closes_its_journal(tmp_path):
    journal = Sick(tmp_path / "journal.sqlite")
    with pytest.raises(JournalError, match="can't be written"):
        await Runtime(catalog(), journal).__aenter__()

    assert await is_closed(journal)
    assert writers() == []


async def test_a_runtime_whose_beginning_is_cancelled_closes_its_journal(tmp_path):
    journal = Slow(tmp_path / "journal.sqlite")
    beginning = asyncio.create_task(Runtime(catalog(), journal).__aenter__())
    await journal.beating.wait()
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning

    assert await is_closed(journal)
    assert writers() == []


async def test_a_model_that_cannot_be_closed_keeps_nothing_else_open(tmp_path):
    journal = SQLiteJournal(tmp_path / "journal.sqlite")
    local, second = Stubborn(fails=True), Stubborn(fails=True)
    runtime = Runtime(catalog(local=local, second=second), journal)
    await runtime.__aenter__()
    for name in ("local", "second"):
        runtime.models.get(name)
    with pytest.raises(OSError, match="it hangs"):
        await runtime.aclose()

    assert (local.closed, second.closed) == (True, True)
    assert await is_closed(journal)
    assert writers() == []


class Thing:
    closed = False

    def close(self) -> None:
        self.closed = True


async def test_what_a_thread_opens_for_a_cancelled_task_is_closed():
    opening, go, closed = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def make() -> Thing:
        loop.call_soon_threadsafe(opening.set)
        go.wait(60)
        return Thing()

    def close(thing: Thing) -> None:
        thing.close()
        closed.set()

    task = asyncio.create_task(opened_in_thread(make, close))
    await opening.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()

    assert await asyncio.to_thread(closed.wait, 60)


async def test_what_was_opened_in_the_moment_of_a_cancellation_is_closed():
    opening, go, opened = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    thing = Thing()

    def make() -> Thing:
        loop.call_soon_threadsafe(opening.set)
        go.wait(60)
        opened.set()
        return thing

    task = asyncio.create_task(opened_in_thread(make, Thing.close))
    await opening.wait()
    go.set()
    assert opened.wait(60)  # holds up the loop: the task can't be told before it is cancelled
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(60):
        while not thing.closed:  # by either of the two threads
            await asyncio.sleep(0)


async def test_what_a_thread_cannot_open_is_the_error_of_who_asked():
    def make() -> Thing:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        await opened_in_thread(make, Thing.close)


@pytest.mark.parametrize("broken", ["quick_check", "user_version"])
async def test_a_file_that_cannot_be_used_is_not_kept_open(tmp_path, monkeypatch, broken):
    made: list[sqlite3.Connection] = []
    real = sqlite3.connect

    class Connection(sqlite3.Connection):
        def execute(self, sql, *parameters):
            if broken in sql:
                raise OSError("the disk is gone")
            return super().execute(sql, *parameters)

    def connect(*args, **kwargs) -> sqlite3.Connection:
        made.append(real(*args, **kwargs, factory=Connection))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(OSError, match="the disk is gone"):
        await SQLiteJournal(tmp_path / "journal.sqlite").open()

    assert len(made) == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        made[0].execute("SELECT 1")
