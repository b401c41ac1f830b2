"""Any sequence of operations leaves every journal as it leaves a naive model, which copies where a journal shares."""

import asyncio
import re

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gaia_core.errors import BusyError, FencedError, NotFoundError
from gaia_core.journal import PAYLOAD_BYTES, NewRecord, NewSession, SessionUpdate

IDS = st.sampled_from(["a", "b", "c", "d"])
OWNERS = st.sampled_from(["", "", "", "ann"])
WORDS = st.lists(st.sampled_from(["red", "Green", "BLUE", "straße", "x_1", "w1", "w2", "w3"]), max_size=2).map(" ".join)
SIZES = st.sampled_from([1, 2, PAYLOAD_BYTES + 1, PAYLOAD_BYTES + 2])
REPLICAS = st.sampled_from(["r1", "r2"])
RECORDS = st.lists(st.tuples(SIZES, WORDS, st.booleans(), st.none() | st.integers(0, 12)), max_size=3)


class Modelled:
    """A session as the model has it: its own copy of everything."""

    def __init__(self, title, records=(), head=0):
        self.title = title
        self.records = list(records)
        self.head = head
        self.turn = self.replica = None
        self.takeovers = 0
        self.signals = []

    def copy(self, at):
        head = self.head if at is None else at
        return Modelled(self.title, self.records[:at], head)

    def count(self, seq):
        return self.records[seq - 1]["count"] if seq else 0

    def says(self):
        return set(re.findall(r"\w+", " ".join([self.title, *(each["text"] for each in self.records)]).casefold()))


class JournalMachine(RuleBasedStateMachine):
    """The rules; *make_home* is set by the test."""

    make_home = None

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.home = self.make_home()
        self.journal = self.run(self.home.open())
        self.model = {}
        self.leases = {}
        self.beats = {}
        self.now = 0
        self.turns = 0

    def run(self, work):
        return self.runner.run(work)

    def teardown(self):
        try:
            self.check()
        finally:
            self.run(self.home.close())
            self.runner.close()

    def alive(self, replica):
        return replica in self.beats and self.now - self.beats[replica] < 15

    @initialize(sizes=st.lists(st.integers(1, 3), min_size=2, max_size=3), at=st.integers(0, 3))
    def begin(self, sizes, at):
        self.create("", "a", "red")
        for size in sizes:
            lease = self.run(self.journal.claim("", "a", "r1", "begin"))
            records = tuple(NewRecord("k", b"1", f"w{size} again", True) for _ in range(size))
            self.run(self.journal.append(lease, records, done=True))
            session = self.model["", "a"]
            for _ in records:
                entry = {"body": b"1", "text": f"w{size} again", "parent": session.head, "count": session.head + 1}
                session.records.append(entry)
                session.head = len(session.records)
        self.beats["r1"] = self.now
        self.fork("", "a", "b", min(at, sum(sizes)))

    @rule(owner=OWNERS, id=IDS, title=WORDS)
    def create(self, owner, id, title):
        self.run(self.journal.create(NewSession(id, owner, "coder", "t1:x", title)))
        self.model.setdefault((owner, id), Modelled(title))

    @rule(owner=OWNERS, id=IDS, replica=REPLICAS, take_over=st.booleans())
    def claim(self, owner, id, replica, take_over):
        session = self.model.get((owner, id))
        self.turns += 1
        turn = None if take_over else f"t{self.turns}"
        work = self.journal.claim(owner, id, replica, turn)
        if session is None:
            with pytest.raises(NotFoundError):
                self.run(work)
            return
        lease = self.run(work)
        free = session.turn is not None and not self.alive(session.replica) if take_over else session.turn is None
        assert (lease is not None) == free
        if lease is None:
            return
        session.takeovers = session.takeovers + 1 if take_over else 0
        session.turn, session.replica = turn or session.turn, replica
        assert (lease.turn, lease.takeovers, lease.seq, lease.head) == (
            session.turn, session.takeovers, len(session.records), session.head,
        )  # fmt: skip
        if not self.alive(replica):
            self.beats[replica] = self.now
        self.leases[owner, id] = lease

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), given=RECORDS, done=st.booleans())
    def append(self, data, given, done):
        key = data.draw(st.sampled_from(sorted(self.leases)))
        lease = self.leases[key]
        session = self.model.get(key)
        records = tuple(NewRecord("k", b"z" * size, text, visible, parent) for size, text, visible, parent in given)
        work = self.journal.append(lease, records, done=done)
        if session is None or session.turn != lease.turn:
            with pytest.raises(FencedError):
                self.run(work)
            del self.leases[key]
            return
        before = len(session.records)
        if any(parent is not None and parent > before + index for index, (*_, parent) in enumerate(given)):
            with pytest.raises(NotFoundError):
                self.run(work)
            return
        appended = self.run(work)
        for size, text, visible, given_parent in given:
            parent = session.head if given_parent is None else given_parent
            count = session.count(parent) + visible
            session.records.append({"body": b"z" * size, "text": text, "parent": parent, "count": count})
            session.head = len(session.records)
        assert [each.data for each in appended.signals] == session.signals
        session.signals = []
        self.leases[key] = appended.lease
        if done:
            session.turn = session.replica = None
            session.takeovers = 0
            del self.leases[key]

    @precondition(lambda self: any(session.turn is None for session in self.model.values()))
    @rule(data=st.data(), spoken=st.lists(WORDS, min_size=1, max_size=4), large=st.booleans())
    def talk(self, data, spoken, large):
        """A whole turn at once, so that there is a past to share."""
        key = data.draw(st.sampled_from(sorted(key for key, each in self.model.items() if each.turn is None)))
        session = self.model[key]
        self.turns += 1
        lease = self.run(self.journal.claim(*key, "r1", f"t{self.turns}"))
        body = b"z" * (PAYLOAD_BYTES + 1) if large else b"1"
        self.run(self.journal.append(lease, tuple(NewRecord("k", body, each, True) for each in spoken), done=True))
        for text in spoken:
            count = session.count(session.head) + 1
            session.records.append({"body": body, "text": text, "parent": session.head, "count": count})
            session.head = len(session.records)
        if not self.alive("r1"):
            self.beats["r1"] = self.now

    @rule(owner=OWNERS, id=IDS, new_id=IDS, at=st.none() | st.integers(0, 6))
    def fork(self, owner, id, new_id, at):
        session = self.model.get((owner, id))
        work = self.journal.fork(owner, id, new_id, at)
        if session is None or (at is not None and at > len(session.records)):
            with pytest.raises(NotFoundError):
                self.run(work)
            return
        self.run(work)
        self.model.setdefault((owner, new_id), session.copy(at))

    @rule(owner=OWNERS, id=IDS)
    def delete(self, owner, id):
        session = self.model.get((owner, id))
        work = self.journal.delete(owner, id)
        if session is None:
            with pytest.raises(NotFoundError):
                self.run(work)
        elif session.turn is not None and self.alive(session.replica):
            with pytest.raises(BusyError):
                self.run(work)
        else:
            self.run(work)
            del self.model[owner, id]

    @rule(owner=OWNERS, id=IDS, title=st.none() | WORDS, head=st.none() | st.integers(0, 8))
    def update(self, owner, id, title, head):
        session = self.model.get((owner, id))
        work = self.journal.update(owner, id, SessionUpdate(title=title, head=head))
        if session is None:
            expected = NotFoundError
        elif head is not None and session.turn is not None:
            expected = BusyError
        elif head is not None and head > len(session.records):
            expected = NotFoundError
        else:
            self.run(work)
            session.title = session.title if title is None else title
            session.head = session.head if head is None else head
            return
        with pytest.raises(expected):
            self.run(work)

    @rule(owner=OWNERS, id=IDS, data=st.binary(max_size=3))
    def signal(self, owner, id, data):
        session = self.model.get((owner, id))
        if session is None:
            return
        n = self.run(self.journal.signal(owner, id, "steer", data))
        assert (n is not None) == (session.turn is not None)
        if session.turn is not None:
            session.signals.append(data)

    @rule(replica=REPLICAS)
    def beat(self, replica):
        self.run(self.journal.beat(replica, ""))
        self.beats[replica] = self.now

    @rule()
    def wait(self):
        self.now += 10
        self.run(self.home.advance(10))

    @rule()
    def check(self):
        for (owner, name), session in self.model.items():
            info = self.run(self.journal.get(owner, name))
            assert (info.seq, info.head, info.message_count, info.title, info.turn) == (
                len(session.records), session.head, session.count(session.head), session.title, session.turn,
            )  # fmt: skip
            records = self.run(self.journal.read(owner, name))
            assert [(each.seq, each.parent, each.body, each.message_count) for each in records] == [
                (seq, each["parent"], each["body"], each["count"]) for seq, each in enumerate(session.records, 1)
            ]

    @rule(owner=OWNERS, query=WORDS)
    def search(self, owner, query):
        wanted = set(query.casefold().split())
        rows, total = self.run(self.journal.list(owner, query=query))
        found = {
            name
            for (who, name), session in self.model.items()
            if who == owner and all(any(part in word for word in session.says()) for part in wanted)
        }
        assert ({row.id for row in rows}, total) == (found, len(found))
        assert [row.updated_at for row in rows] == sorted((row.updated_at for row in rows), reverse=True)


def test_any_sequence_of_operations_leaves_what_the_model_has(make_home):
    machine = type("Machine", (JournalMachine,), {"make_home": staticmethod(make_home)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
