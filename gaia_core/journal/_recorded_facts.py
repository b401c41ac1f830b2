"""Records as facts. One whose body is damaged costs itself: the rest of its session can be read."""

import msgspec

from gaia_core.errors import DamagedRecordError
from gaia_core.facts import Damaged, Fact, decode_fact
from gaia_core.journal._records import Record


def readable_fact(record: Record) -> Fact:
    """The fact of *record*, or `Damaged` in its place: for showing a session."""
    body: object = record.body  # what a damaged file has there may be missing, or of another type
    if not isinstance(body, bytes):
        return Damaged(record.kind, "it has no body")
    try:
        return decode_fact(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        return Damaged(record.kind, str(error))


def fact_of(record: Record, session: str) -> Fact:
    """The fact of *record* of the session *session*. Raises DamagedRecordError: for acting on it."""
    fact = readable_fact(record)
    if type(fact) is Damaged:
        raise DamagedRecordError(session, record.seq, record.kind, fact.problem)
    return fact
