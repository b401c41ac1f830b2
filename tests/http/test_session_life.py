"""Any sequence of what clients, tools and faults do to a session leaves it usable, and every turn with one end.

hypothesis draws the sequences: clients send, disconnect, attach again, approve, cancel and delete; the model and the
tool go on when a step lets them; the disk is full and has room again; the process stops or is killed. After each
sequence the faults end, and the session must be usable within seconds. The clock of the event loop is virtual, so no
pause of the server's takes its time.
"""

import asyncio
import inspect
import itertools
import json
import re
from contextlib import suppress

import aiohttp
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from gaia_core import Agent, ApprovalPolicy, Limits, ScriptedModel, Toolset, tool
from gaia_core.events import TextDelta
from gaia_core.messages import ToolMessage, UserMessage, text_of
from gaia_core.models import Finished, ToolCallDelta
from tests.http.ui.conftest import Client, frames_of
from tests.http.ui.conftest import text_of as shown_text
from tests.plugins.outages import FullDisk

LONG = "x" * 20_000
"""What needs a further page of the journal's file."""

SECONDS = 15.0
"""How far the clock goes on while a session recovers: a delayed write is made again each second, a heartbeat comes each
4 seconds, and a turn that was taken over is tried again after 8 seconds at most."""

_LOOKS = 10_000
"""A recovery that needs more looks is none; each is 2 ms of real time."""

_LOOKS_AT_ONCE = 20
"""What needs no pause of the server's is done by then; the clock stays as it is."""

ANY = st.integers(0, 3)
"""Which one, of as many as there are."""

REFUSALS = {
    "send": {404, 409, 429, 503},
    "attach": {404, 503},
    "confirm": {404, 409, 503},
    "cancel": {404, 503},
    "delete": {404, 409, 503},
}
"""The status codes, besides 200, that an operation may have."""


class KillableJournal:
    """A journal that nothing returns from, once its process is killed."""

    def __init__(self, journal) -> None:
        self._journal = journal
        self._lives = asyncio.Event()
        self._lives.set()

    def kill(self) -> None:
        self._lives.clear()

    def bury(self) -> None:
        """Let what waits go on, so that the killed process's tasks can end."""
        self._lives.set()

    def __getattr__(self, name):
        method = getattr(self._journal, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def answered(*arguments, **options):
            await self._lives.wait()
            try:
                return await method(*arguments, **options)
            finally:
                await self._lives.wait()

        return answered


class Process:
    """A server process. Its model and its tool stop at points (`hold`) until they are released."""

    def __init__(self, life, number: int) -> None:
        self.life = life
        self.number = number
        self.disk = FullDisk(life.path)
        self.held: list[asyncio.Future[None]] = []
        self.holds = True

        @tool(effects="write")
        async def erase(path: str) -> str:
            """Erase."""
            await self.hold()
            life.log.append(("act", path))
            await self.hold()
            return f"erased {LONG}"

        self.agent = Agent(
            "a",
            tools=Toolset("t", (erase,)),
            approvals=ApprovalPolicy(effects={"write"}),
            limits=Limits(seconds=60),
        )

    async def start(self, serve) -> None:
        self.journal = KillableJournal(await self.disk.journal())
        self.server = await serve(ScriptedModel(self.answer), agents=(self.agent,), journal=self.journal)
        # An idle connection ends after 5 s, which the virtual clock may pass at any time.
        self.server.http.headers["connection"] = "close"
        self.client = Client(self.server)

    async def hold(self) -> None:
        if not self.holds:
            return
        future = asyncio.get_running_loop().create_future()
        self.held.append(future)
        try:
            await future
        finally:
            self.held.remove(future)

    def release(self, which: int) -> None:
        waiting = [each for each in self.held if not each.done()]
        if waiting:
            waiting[which % len(waiting)].set_result(None)

    def release_all(self) -> None:
        self.holds = False
        for each in self.held:
            if not each.done():
                each.set_result(None)

    async def answer(self, request):
        said = [text_of(each.content) for each in request.messages if isinstance(each, UserMessage)]
        tag, kind = re.findall(r"^(t\d+) (\w+)", "\n".join(said), re.MULTILINE)[-1]
        yield TextDelta(f"{tag} of process {self.number} ")
        await self.hold()
        if kind == "call" and not isinstance(request.messages[-1], ToolMessage):
            yield ToolCallDelta(0, f"call_{tag}", "erase", json.dumps({"path": tag}))
            yield Finished("tool_calls")
            return
        yield TextDelta(f"says {LONG if kind == 'long' else kind}")
        await self.hold()
        yield Finished("stop")


class Reader:
    """A client that follows a turn over all its connections. *tag*: its turn's; empty for one that only attaches."""

    def __init__(self, life, session: str, tag: str = "") -> None:
        self.life = life
        self.session = session
        self.tag = tag
        self.frames: list[tuple[str, dict]] = []
        self.refused: int | None = None
        self.task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        kinds = [(frame_id, data["type"]) for frame_id, data in self.frames]
        return f"<reader of {self.tag or 'an attach'}: refused={self.refused}, {kinds}>"

    @property
    def last(self) -> str | None:
        """The last id that says where it stands. A frame before its turn began says nothing."""
        ids = [frame_id for frame_id, _ in self.frames if frame_id not in ("", "0:0:0")]
        return ids[-1] if ids else None

    @property
    def reads(self) -> bool:
        return self.task is not None and not self.task.done()

    @property
    def ended(self) -> bool:
        return any(data["type"] == "done" for _, data in self.frames)

    @property
    def broken(self) -> bool:
        return not (self.reads or self.ended or self.refused)

    def send(self, body: dict) -> None:
        self._connect("send", "POST", "/api/chat/send", json=body)

    def attach(self) -> None:
        headers = {"last-event-id": self.last} if self.last else {}
        self._connect("attach", "GET", "/api/chat/attach", params={"session_id": self.session}, headers=headers)

    def _connect(self, operation: str, method: str, path: str, **options) -> None:
        request = self.life.process.server.http.request(method, path, **options)
        self.task = asyncio.create_task(self._read(operation, request))

    async def disconnect(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait((self.task,))

    async def _read(self, operation: str, request) -> None:
        with suppress(aiohttp.ClientError):  # the process stopped
            async with request as response:
                if response.status != 200:
                    self.refused = self.life.refusal(operation, response.status, await response.text())
                    return
                async for frame in frames_of(response.content):
                    self._take(frame)

    def _take(self, frame: tuple[str, dict]) -> None:
        kind = frame[1]["type"]
        if kind == "outcome_unknown":
            return  # it has no id, and is no end
        self.frames.append(frame)
        if kind == "permission_request":
            self.life.asked(frame[1]["confirm_id"])
        if kind == "done":
            self.life.log.append(("end", self.tag))


class Life(RuleBasedStateMachine):
    """The steps. The test gives *loop*, on which all but the steps themselves runs, *serve*, *clock* and *paths*."""

    loop = serve = clock = paths = None

    def __init__(self) -> None:
        super().__init__()
        self.path = next(self.paths)
        self.log: list[tuple[str, str]] = []
        """What was told and done, in order: `act` of a tool, `end` of a turn."""
        self.approved: set[str] = set()
        """The prompts that somebody approved."""
        self.prompts: list[str] = []
        self.readers: list[Reader] = []
        self.requests: list[asyncio.Task[None]] = []
        self.processes: list[Process] = []
        self.deleted = False
        """Whether somebody asked for it."""
        self.recovers = False
        """Whether the faults are over, and a person answers each prompt."""
        self.sent = 0

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    @property
    def process(self) -> Process:
        return self.processes[-1]

    def refusal(self, operation: str, status: int, text: str) -> int:
        assert status in REFUSALS[operation], (operation, status, text)
        return status

    @initialize(interrupts=st.booleans())
    def begin(self, interrupts):
        self.interrupts = interrupts

        async def begin():
            await self.start()
            self.session = await self.process.client.session()

        self.run(begin())

    async def start(self) -> None:
        process = Process(self, len(self.processes))
        await process.start(self.serve)
        self.processes.append(process)

    async def settle(self) -> None:
        """Let what the last step began come to where it waits."""
        for _ in range(3):
            await self.process.client.get("/api/health")  # over a socket, and to the journal's thread and back

    async def until(self, holds, what: str) -> None:
        """Wait until *holds*, which must be within `SECONDS`."""
        ahead = 0.0
        for look in range(_LOOKS):
            if holds():
                return
            if look > _LOOKS_AT_ONCE and ahead < SECONDS:
                ahead += 0.05
                self.clock.advance(0.05)
            await asyncio.sleep(0.002)
        raise AssertionError(f"{what}: not within seconds; {self.readers}")

    def request(self, operation: str, method: str, path: str, body: dict | None = None) -> None:
        http = self.process.server.http

        async def request():
            with suppress(aiohttp.ClientError):  # the process stopped
                async with http.request(method, path, json=body) as response:
                    if response.status != 200:
                        self.refusal(operation, response.status, await response.text())

        self.requests.append(asyncio.create_task(request()))

    def asked(self, prompt: str) -> None:
        self.prompts.append(prompt)
        if self.recovers:
            self.answer(prompt, approved=False)

    def answer(self, prompt: str, *, approved: bool) -> None:
        body = {"session_id": self.session, "confirm_id": prompt, "approved": approved}
        self.request("confirm", "POST", "/api/chat/confirm-tool", body)

    # What clients do.

    def sending(self, kind: str, when_busy: str) -> Reader:
        self.sent += 1
        reader = Reader(self, self.session, f"t{self.sent}")
        self.readers.append(reader)
        reader.send({"session_id": self.session, "message": f"{reader.tag} {kind}", "when_busy": when_busy})
        return reader

    @rule(
        kind=st.sampled_from(["short", "long", "call", "call"]),
        when_busy=st.sampled_from(["reject", "queue", "interrupt"]),
    )
    def send(self, kind, when_busy):
        async def send():
            self.sending(kind, when_busy)
            await self.settle()

        self.run(send())

    @rule(which=ANY)
    def disconnect(self, which):
        async def disconnect():
            if reading := [each for each in self.readers if each.reads]:
                await reading[which % len(reading)].disconnect()

        self.run(disconnect())

    @rule(which=ANY)
    def attach_again(self, which):
        async def attach():
            if broken := [each for each in self.readers if each.broken and each.last]:
                broken[which % len(broken)].attach()
                await self.settle()

        self.run(attach())

    @rule()
    def attach_anew(self):
        async def attach():
            reader = Reader(self, self.session)
            self.readers.append(reader)
            reader.attach()
            await self.settle()

        self.run(attach())

    @rule(which=ANY, approved=st.booleans())
    def confirm(self, which, approved):
        async def confirm():
            if self.prompts:
                prompt = self.prompts[-1 - which % len(self.prompts)]
                if approved:
                    self.approved.add(prompt)
                self.answer(prompt, approved=approved)
                await self.settle()

        self.run(confirm())

    @rule()
    def cancel(self):
        async def cancel():
            self.request("cancel", "POST", "/api/chat/cancel", {"session_id": self.session})
            await self.settle()

        self.run(cancel())

    @rule(sure=ANY)
    def delete(self, sure):
        if sure:  # rarely: little happens to a session afterwards
            return

        async def delete():
            self.deleted = True
            self.request("delete", "DELETE", f"/api/sessions/{self.session}")
            await self.settle()

        self.run(delete())

    # What the model, the tool and the time do.

    @rule(which=ANY, points=st.integers(1, 4))
    def go_on(self, which, points):
        async def go_on():
            for _ in range(points):
                self.process.release(which)
                await self.settle()

        self.run(go_on())

    @rule()
    def time_passes(self):
        async def time_passes():
            await self.clock.sleep(6)
            await self.settle()

        self.run(time_passes())

    # Faults.

    @rule()
    def disk_is_full(self):
        self.run(self.process.disk.begin())

    @rule()
    def disk_has_room(self):
        async def disk_has_room():
            await self.process.disk.end()
            await self.settle()

        self.run(disk_has_room())

    async def leave(self) -> None:
        """End all connections to the process."""
        for each in (*(reader.task for reader in self.readers if reader.reads), *self.requests):
            if not each.done():
                each.cancel()
                await asyncio.wait((each,))

    @rule()
    def process_is_killed(self):
        async def kill():
            dead = self.process
            dead.journal.kill()
            await self.leave()
            await self.start()
            # The next process finds by its number that it is dead; here it has the number of the living one.
            await self.process.server.runtime.journal.adopt((dead.server.runtime.replica,))

        self.run(kill())

    @rule()
    def process_restarts(self):
        async def restart():
            stopping = asyncio.create_task(self.process.server.stop())
            await self.until(stopping.done, "the process stops")
            await stopping
            await self.start()

        self.run(restart())

    # The end of a sequence.

    def teardown(self):
        if self.processes:
            self.run(self._teardown())

    async def _teardown(self) -> None:
        try:
            await self.recover()
            self.check_ends()
            await self.check_record()
        finally:
            for process in self.processes:
                process.journal.bury()
                await process.disk.end()
            stopping = [asyncio.create_task(process.server.stop()) for process in self.processes]
            await self.leave()
            await self.until(lambda: all(each.done() for each in stopping), "the processes stop")
            await asyncio.gather(*stopping)

    async def recover(self) -> None:
        """The faults end, the model and the tool go on: the session answers, and all readers come to an end."""
        await self.process.disk.end()
        self.process.release_all()
        self.recovers = True
        for prompt in self.prompts:
            self.answer(prompt, approved=False)
        await self.until(lambda: all(each.done() for each in self.requests), "the requests are answered")
        await asyncio.gather(*self.requests)
        if not self.interrupts:
            self.request("cancel", "POST", "/api/chat/cancel", {"session_id": self.session})
            await self.until(self.requests[-1].done, "the turn is cancelled")
            await self.requests[-1]
        await self.until_answered()
        for reader in self.readers:
            await self.until(lambda reader=reader: not reader.reads, f"{reader} reads to the end")
            if reader.broken and reader.last:
                reader.attach()
                await self.until(lambda reader=reader: not reader.reads, f"{reader} attaches and reads to the end")
            assert reader.task is not None
            with suppress(asyncio.CancelledError):
                await reader.task

    async def until_answered(self) -> None:
        """Send until the session answers; a refusal that says to try again later is followed."""
        ahead = 0.0
        while True:
            last = self.sending("short", "interrupt" if self.interrupts else "queue")
            await self.until(lambda: not last.reads, "the session answers")
            assert last.task is not None
            await last.task
            if self.deleted and last.refused == 404:
                return
            if not last.refused:
                break
            assert ahead < SECONDS, f"the session still refuses: {last}"
            ahead += 1.0
            await self.clock.sleep(1.0)
            await self.settle()
        assert last.ended, last
        assert last.frames[-1][1]["content"].endswith("says short"), last

    def check_ends(self) -> None:
        for reader in self.readers:
            kinds = [data["type"] for _, data in reader.frames]
            if reader.last and not (self.deleted and reader.refused == 404):
                assert not reader.refused, reader
                assert kinds[-1] == "done", reader
            assert kinds.count("done") <= 1, reader
            if reader.ended:
                assert kinds[-1] == "done", reader
        ended = set()
        acted = set()
        for what, tag in self.log:
            if what == "end":
                ended.add(tag)
                continue
            assert tag not in ended, f"the tool of {tag} acted after its end was told: {self.log}"
            assert tag not in acted, f"the tool of {tag} ran twice: {self.log}"
            acted.add(tag)

    async def check_record(self) -> None:
        """What each reader was shown is what the record has."""
        status, body, _ = await self.process.client.ask("GET", f"/api/sessions/{self.session}/messages?limit=1000")
        if status == 404:
            assert self.deleted
            return
        recorded = {message["id"]: message for message in body["messages"]}
        for reader in self.readers:
            if not reader.ended:
                continue
            done = reader.frames[-1][1]
            shown = shown_text(reader.frames)
            if done["message_id"] is None:  # its turn never began
                assert not shown, reader
                continue
            assert done["content"] == recorded[done["message_id"]]["content"], reader
            assert shown == done["content"], (reader, shown[:200], done["content"][:200])


async def test_from_every_state_the_session_becomes_usable_and_each_turn_ends_once(serve, tmp_path, loop_clock):
    given = {
        "loop": asyncio.get_running_loop(),
        "serve": staticmethod(serve),
        "clock": loop_clock,
        "paths": (tmp_path / f"life{n}.db" for n in itertools.count()),
    }
    await asyncio.to_thread(
        run_state_machine_as_test,
        type("Machine", (Life,), given),
        settings=settings(
            max_examples=40, stateful_step_count=16, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
