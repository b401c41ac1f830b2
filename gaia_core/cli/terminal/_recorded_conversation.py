"""Recorded conversations on a screen: whole, as they were shown when they happened, or the last of them in short."""

import datetime as dt
from collections.abc import Callable

from gaia_core.cli.terminal._event_view import EventView
from gaia_core.cli.terminal._screen import Screen
from gaia_core.events import TurnEnded
from gaia_core.facts import Began, Damaged, Ended, events_of
from gaia_core.messages import text_of
from gaia_core.runtime import AnswerText, Facts, damaged_words, messages_of

_RECAP_MESSAGES = 6
_RECAP_CHARS = 200


def show_conversation(facts: Facts, session_id: str, screen_of: Callable[[], Screen]) -> None:
    """Show every turn, each on a screen of its own; messages have their ids before them."""
    ends = {record.turn: record.seq for record, fact in facts if isinstance(fact, Ended)}
    screen, turn = screen_of(), ""
    show, tally = EventView(screen), AnswerText()
    for record, fact in facts:
        if isinstance(fact, Began):
            if turn:
                screen.line("")
                screen.rest()
                screen = screen_of()
            turn, show, tally = record.turn, EventView(screen), AnswerText()
            if fact.message is not None:
                screen.line(f"[{record.seq}] {when(record.at)}", "dim")
                screen.line("> " + text_of(fact.message.content).replace("\n", "\n  "), "bold")
            end = ends.get(turn)
            screen.line(f"[{end}] {fact.agent}" if end is not None else f"[…] {fact.agent} has not answered yet", "dim")
            screen.rest()
            continue
        if isinstance(fact, Damaged):
            screen.line(damaged_words(record, fact), "red")
            continue
        for event in events_of(fact, record.turn, session_id):
            tally.take(event)
            if isinstance(event, TurnEnded):
                if cut_short := tally.unrecorded(event):
                    show.text(cut_short)
                show.ended(event)
            else:
                show.event(event)
    screen.rest()


def show_recap(facts: Facts, session_id: str, screen: Screen) -> None:
    """The last messages, shortened."""
    messages = messages_of(session_id, facts)
    earlier = len(messages) - _RECAP_MESSAGES
    if earlier > 0:
        screen.line(f"… {earlier} earlier messages", "dim")
    for message in messages[-_RECAP_MESSAGES:]:
        words = " ".join(message.content.split())
        short = words if len(words) <= _RECAP_CHARS else f"{words[:_RECAP_CHARS]}…"
        screen.line(f"> {short}" if message.role == "user" else f"  {short}", "dim")
    screen.rest()


def when(at: float) -> str:
    """A Unix time for people: the local time, to the minute."""
    return dt.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
