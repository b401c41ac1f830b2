"""Any sequence of what clients, tools and faults do to a session leaves it usable, and every turn with one end.

Each sequence is a random walk with a seed. Clients send, disconnect, attach again, approve, cancel and delete; the
model and the tool go on when a step lets them; the disk is full and has room again; the process stops or is killed.
After each sequence the faults end, and the session must be usable within seconds. The clock of the event loop is
virtual, so no pause of the server's takes its time.
"""

import asyncio
import inspect
import json
import random
import re
from contextlib import suppress

import aiohttp
import pytest

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

SEEDS, LIVES, STEPS = 6, 2, 35

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

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_full = False
        self.acted = False
        """Whether a call has had its effect and has not returned, which is the worst moment for most steps."""

        @tool(effects="write")
        async def erase(path: str) -> str:
            """Erase."""
            await self.hold()
            self.log.append(("act", path))
            self.acted = True
            try:
                await self.hold()
            finally:
                self.acted = False
            return f"erased {LONG}"

        self.agent = Agent(
            "a",
            tools=Toolset("t", (erase,)),
            approvals=ApprovalPolicy(effects={"write"}),
            limits=Limits(seconds=60),
        )

    def begin(self, log: list[tuple[str, str]]) -> None:
        """Serve another sequence."""
        self.log = log
        self.held: list[asyncio.Future[None]] = []
        self.holds = True

    async def start(self, serve, disk: FullDisk) -> None:
        self.disk = disk
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

    @property
    def waiting(self) -> list[asyncio.Future[None]]:
        return [each for each in self.held if not each.done()]

    def release_all(self) -> None:
        self.holds = False
        for each in self.waiting:
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


class World:
    """What all sequences share: a journal's file, and the processes on it. The last one serves."""

    def __init__(self, serve, path, clock) -> None:
        self.serve = serve
        self.path = path
        self.clock = clock
        self.processes: list[Process] = []
        self._started = 0

    async def start(self) -> None:
        self._started += 1
        process = Process(self._started)
        await process.start(self.serve, FullDisk(self.path))
        self.processes.append(process)

    async def bury(self, life: "Life") -> None:
        """Stop the processes that were killed."""
        while len(self.processes) > 1:
            dead = self.processes.pop(0)
            dead.journal.bury()
            await life.stop(dead)


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
        http = self.life.process.server.http
        self.task = asyncio.create_task(self._read(operation, lambda: http.request(method, path, **options)))

    async def disconnect(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait((self.task,))

    async def _read(self, operation: str, request) -> None:
        with suppress(aiohttp.ClientError):  # the process stopped
            async with request() as response:
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
            self.life.asked(frame[1]["confirm_id"], frame[1]["args"]["path"])
        if kind == "done":
            self.life.log.append(("end", self.tag))


class Life:
    """One session, from its creation through the steps that *chance* takes, until all of it is checked."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self.interrupts = chance.random() < 0.5
        """How a client that finds the session busy at the end gets it: by an interrupt, or else by a cancellation."""
        self.steps: list[str] = []
        """What was done so far, for the report of a failure."""
        self.log: list[tuple[str, str]] = []
        """What was told and done, in order: `act` of a tool, `end` of a turn."""
        self.prompts: dict[str, str] = {}
        """The approvals that readers were asked for, each with its turn."""
        self.approved: set[str] = set()
        """The turns of which somebody approved a prompt."""
        self.readers: list[Reader] = []
        self.requests: list[asyncio.Task[None]] = []
        self.deleted = False
        """Whether somebody asked for it."""
        self.recovers = False
        """Whether the faults are over, and a person answers each prompt."""
        self.sent = 0

    @property
    def process(self) -> Process:
        return self.world.processes[-1]

    async def live(self, steps: int) -> None:
        if not self.world.processes:
            await self.world.start()
        self.process.begin(self.log)
        self.session = await self.process.client.session()
        while steps > 0:
            steps -= 1 if not self.deleted else 8  # little happens to a session that was deleted
            step, *given = self.step()
            self.steps.append(f"{step.__name__}{tuple(given)}")
            await step(*given)
            await self.settle()
        await self.recover()
        self.check_ends()
        await self.check_record()

    def when_busy(self) -> str:
        return self.chance.choice(["reject", "reject", "queue", "queue", "interrupt"])

    def step(self) -> tuple:
        """A step that can be taken now, and what it is given."""
        choice = self.chance.choice
        may: list[tuple[int, tuple]] = [
            (3, (self.send, choice(["short", "long", "call", "call", "call"]), self.when_busy())),
            (1, (self.attach_anew,)),
            (3 if self.process.acted else 1, (self.cancel,)),
            (1, (self.time_passes,)),
            (
                3 if self.process.acted else 1,
                (self.disk_has_room,) if self.process.is_full else (self.disk_is_full,),
            ),
            (12 if self.process.acted else 1, (self.process_ends, choice(["killed", "killed", "in order"]))),
        ]
        if self.chance.random() < 0.1:
            may.append((1, (self.delete,)))
        if held := self.process.waiting:
            may.append((10, (self.go_on, choice(range(len(held))))))
        if self.prompts:
            may.append((4, (self.confirm, choice(list(self.prompts)[-2:]), self.chance.random() < 0.9)))
        if reading := [each for each in self.readers if each.reads]:
            may.append((1, (self.disconnect, choice(reading))))
        if broken := [each for each in self.readers if each.broken and each.last]:
            may.append((3, (self.attach_again, choice(broken))))
        return self.chance.choices([step for _, step in may], [weight for weight, _ in may])[0]

    def refusal(self, operation: str, status: int, text: str) -> int:
        assert status in REFUSALS[operation], (operation, status, text)
        return status

    async def settle(self) -> None:
        """Let what the last step began come to where it waits."""
        for _ in range(4):
            for _ in range(5):
                await asyncio.sleep(0)
            await self.process.server.runtime.journal.replicas()  # to a thread of the journal and back

    async def until(self, holds, what: str) -> None:
        """Wait until *holds*, which must be within `SECONDS`."""
        ahead = 0.0
        for look in range(_LOOKS):
            if holds():
                return
            if look > _LOOKS_AT_ONCE and ahead < SECONDS:
                ahead += 0.05
                self.world.clock.advance(0.05)
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

    def asked(self, prompt: str, tag: str) -> None:
        self.prompts.setdefault(prompt, tag)
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

    async def send(self, kind: str, when_busy: str) -> None:
        self.sending(kind, when_busy)

    async def disconnect(self, reader: Reader) -> None:
        await reader.disconnect()

    async def attach_again(self, reader: Reader) -> None:
        reader.attach()

    async def attach_anew(self) -> None:
        reader = Reader(self, self.session)
        self.readers.append(reader)
        reader.attach()

    async def confirm(self, prompt: str, approved: bool) -> None:
        if approved:
            self.approved.add(self.prompts[prompt])
        self.answer(prompt, approved=approved)

    async def cancel(self) -> None:
        self.request("cancel", "POST", "/api/chat/cancel", {"session_id": self.session})

    async def delete(self) -> None:
        self.deleted = True
        self.request("delete", "DELETE", f"/api/sessions/{self.session}")

    # What the model, the tool and the time do.

    async def go_on(self, which: int) -> None:
        self.process.waiting[which].set_result(None)

    async def time_passes(self) -> None:
        await self.world.clock.sleep(6)

    # Faults.

    async def disk_is_full(self) -> None:
        self.process.is_full = True
        await self.process.disk.begin()

    async def disk_has_room(self) -> None:
        self.process.is_full = False
        await self.process.disk.end()

    async def process_ends(self, how: str) -> None:
        before = self.process
        if how == "killed":
            before.journal.kill()
        await self.leave()
        if how == "in order":
            await self.stop(before)
        await self.world.start()
        self.process.begin(self.log)
        if how == "killed":
            # A process that ended is found by its number; here it has the number of the living one.
            await self.process.server.runtime.journal.adopt((before.server.runtime.replica,))

    async def leave(self) -> None:
        """End all connections to the process."""
        for each in (*(reader.task for reader in self.readers if reader.reads), *self.requests):
            if not each.done():
                each.cancel()
                await asyncio.wait((each,))
        self.requests = [each for each in self.requests if not each.cancelled()]

    async def stop(self, process: Process) -> None:
        stopping = asyncio.create_task(process.server.stop())
        await self.until(stopping.done, "the process stops")
        await stopping

    # The end of a sequence.

    async def recover(self) -> None:
        """The faults end, the model and the tool go on: the session answers, and all readers come to an end."""
        await self.disk_has_room()
        self.process.release_all()
        self.recovers = True
        for prompt in self.prompts:
            self.answer(prompt, approved=False)
        watching = asyncio.create_task(self.watch())
        try:
            await self.until_usable()
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def watch(self) -> None:
        """Be the person at the page, who answers the prompts of queued turns too whose own readers have left."""
        while True:
            reader = Reader(self, self.session)
            reader.attach()
            assert reader.task is not None
            try:
                await reader.task
            finally:
                await reader.disconnect()
            await asyncio.sleep(0.01)

    async def until_usable(self) -> None:
        await self.until(lambda: all(each.done() for each in self.requests), "the requests are answered")
        await asyncio.gather(*self.requests)
        if not self.interrupts:
            self.request("cancel", "POST", "/api/chat/cancel", {"session_id": self.session})
            cancelling = self.requests[-1]
            await self.until(cancelling.done, "the turn is cancelled")
            await cancelling
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
        last = await self.asked_now()
        for _ in range(int(SECONDS)):
            if not last.refused or self.deleted:
                break
            await self.world.clock.sleep(1)
            await self.settle()
            last = await self.asked_now()
        if self.deleted and last.refused == 404:
            return
        assert last.ended, f"the session doesn't answer: {last}"
        assert last.frames[-1][1]["content"].endswith("says short"), last

    async def asked_now(self) -> Reader:
        reader = self.sending("short", "interrupt" if self.interrupts else "queue")
        await self.until(lambda: not reader.reads, "the session answers")
        assert reader.task is not None
        await reader.task
        return reader

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
            assert tag in self.approved, f"the tool of {tag} was not approved: {self.log}"
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


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_from_every_state_the_session_becomes_usable_and_each_turn_ends_once(serve, tmp_path, loop_clock, seed):
    world = World(serve, tmp_path / "life.db", loop_clock)
    chance = random.Random(seed)
    for _ in range(LIVES):
        life = Life(world, chance)
        try:
            await life.live(STEPS)
        except BaseException as error:
            error.add_note("\n".join(["the steps were:", *life.steps]))
            raise
        finally:
            await life.leave()
            await world.bury(life)
