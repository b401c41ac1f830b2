"""Lines that a person types: messages, and answers to questions, in the terminal's thread. Edited by prompt_toolkit.

A pasted text of many lines is one message, as the terminal brackets it; Alt-Enter, or a backslash at the end of a line,
begins a new line. Messages are remembered from one run to the next in a file for this user only.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from gaia_core.private_files import missing_folders, write_private

LEAVE = ("exit", "quit")
_MORE = "\\"
_MOST_HISTORY_BYTES = 1_000_000

Complete = Callable[[str], Iterable[str]]
"""From the text before the cursor to what may replace its last word."""


class Prompt:
    """Asks the person at the terminal. *history*: the file that messages are kept in; None: only while this runs."""

    def __init__(self, history: Path | None = None) -> None:
        self.complete: Complete = _nothing
        """What Tab offers. Set by who reads messages."""
        self._output = _output()
        self._messages: PromptSession[str] = PromptSession(
            "> ",
            multiline=True,
            prompt_continuation=". ",
            history=_history(history),
            completer=_Completer(self),
            complete_style=CompleteStyle.READLINE_LIKE,
            complete_while_typing=False,
            enable_open_in_editor=True,
            key_bindings=_message_keys(),
            output=self._output,
        )

    def message(self) -> str | None:
        """What the person says next; None to leave: Ctrl-D, Ctrl-C with nothing typed, or one of `LEAVE`."""
        while True:
            try:
                message = self._messages.prompt().strip()
            except (EOFError, KeyboardInterrupt):
                return None
            if message in LEAVE:
                return None
            if message:
                return message

    def ask(self, question: str, seconds: float) -> str | None:
        """The answer to *question*, stripped; None when none came within *seconds*. Raises EOFError on Ctrl-D and
        KeyboardInterrupt on Ctrl-C.

        What was typed before the question was seen is no answer to it.
        """
        asking: PromptSession[str] = PromptSession(question, history=InMemoryHistory(), output=self._output)
        _drop_typed()
        clear_typeahead(asking.input)

        def time_out() -> None:
            if not asking.app.is_done:
                asking.app.exit(exception=TimeoutError())

        def begin() -> None:
            asyncio.get_running_loop().call_later(seconds, time_out)

        try:
            return asking.prompt(pre_run=begin).strip()
        except TimeoutError:
            return None


def _nothing(_text: str) -> Iterable[str]:
    return ()


class _Completer(Completer):
    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        """See `Completer`."""
        text = document.text_before_cursor
        word = text.rpartition(" ")[2]
        for found in self._prompt.complete(text):
            yield Completion(found, start_position=-len(word))


def _message_keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith(_MORE):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    return keys


def _history(path: Path | None) -> History:
    """The history at *path*, which is this user's only, and of which the oldest half goes when it is long."""
    if path is None:
        return InMemoryHistory()
    try:
        missing_folders(path.parent)
        if not path.exists():
            write_private(path, b"")
        path.chmod(0o600)
        if path.stat().st_size > _MOST_HISTORY_BYTES:
            _, _, kept = path.read_bytes()[-_MOST_HISTORY_BYTES // 2 :].partition(b"\n\n")
            write_private(path, kept)
        with path.open("ab"):  # it can be written
            return FileHistory(path)
    except OSError:  # a data folder that can't be written: the conversation matters more
        return InMemoryHistory()


def _output() -> Output:
    """The terminal, also when stdout is sent elsewhere."""
    output = create_output(always_prefer_tty=True)
    if isinstance(output, Vt100_Output):
        # The cursor's place matters to menus only; a terminal that doesn't tell it would be waited for.
        output.enable_cpr = False
    return output


@contextmanager
def without_echo() -> Iterator[None]:
    """The terminal doesn't show what is typed while an answer is written, in the middle of which it would be."""
    before = _terminal_mode()
    if before is None:
        yield
        return
    import termios

    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, [*before[:3], before[3] & ~termios.ECHO, *before[4:]])
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _terminal_mode() -> list[Any] | None:
    """The mode of the terminal, where stdin is one and the system has modes."""
    try:
        import termios
    except ImportError:
        return None
    try:
        return termios.tcgetattr(sys.stdin)
    except (termios.error, OSError, ValueError, TypeError):  # no terminal, closed, or not there at all
        return None


def _drop_typed() -> None:
    if _terminal_mode() is not None:
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)
