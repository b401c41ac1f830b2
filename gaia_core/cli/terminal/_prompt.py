"""Lines that a person types: messages, and answers to questions, in the terminal's thread.

Input comes by `input()`, with readline's editing and this session's history where there is readline.
"""

import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol, cast

LEAVE = ("exit", "quit", "/exit", "/quit")
_MORE = "\\"
_BEAT_SECONDS = 0.1
_SOON_SECONDS = 0.001


class _Readline(Protocol):
    def add_history(self, line: str, /) -> None: ...
    def get_line_buffer(self) -> str: ...
    def set_auto_history(self, enabled: bool, /) -> None: ...


class Prompt:
    """Asks the person at the terminal."""

    def __init__(self) -> None:
        self._readline = _readline()

    def message(self) -> str | None:
        """What the person says next; None to leave: Ctrl-D, Ctrl-C with nothing typed, or one of `LEAVE`.

        A line that ends with a backslash continues in the next one; a pasted text may have many lines.
        """
        lines: list[str] = []
        while True:
            try:
                with _interruptible():
                    line = _read(". " if lines else "> ")
            except EOFError:
                _say("\n")
                return None
            except KeyboardInterrupt:
                _say("\n")
                if not lines and not (self._readline and self._readline.get_line_buffer()):
                    return None
                lines = []
                continue
            if line.endswith(_MORE):
                lines.append(line.removesuffix(_MORE))
                continue
            message = "\n".join((*lines, line)).strip()
            lines = []
            if message in LEAVE:
                return None
            if message:
                self._remember(message)
                return message

    def ask(self, question: str, seconds: float) -> str | None:
        """The answer to *question*, stripped; None when none came within *seconds*. Raises EOFError on Ctrl-D.

        What was typed before the question was seen is no answer to it.
        """
        _drop_typed()
        try:
            with _interruptible(seconds):
                return _read(question).strip()
        except TimeoutError:
            _say("\n")
            return None
        except (EOFError, KeyboardInterrupt):
            _say("\n")
            raise

    def _remember(self, message: str) -> None:
        if self._readline is not None:
            self._readline.add_history(message)


def _readline() -> _Readline | None:
    try:
        import readline
    except ImportError:
        return None
    readline.set_auto_history(False)  # answers to questions are no messages
    return cast("_Readline", readline)


def _read(prompt: str) -> str:
    """A line. Raises EOFError, KeyboardInterrupt."""
    if sys.stdout.isatty():
        return input(prompt)
    _say(prompt)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def _say(text: str) -> None:
    """Write to the person, who may have sent stdout elsewhere."""
    stream = sys.stdout if sys.stdout.isatty() else sys.stderr
    stream.write(text)
    stream.flush()


@contextmanager
def echo(*, on: bool) -> Iterator[None]:
    """Whether the terminal shows what is typed: not while an answer is written, in the middle of which it would be."""
    before = _terminal_mode()
    if before is None:
        yield
        return
    import termios

    flags = before[3] | termios.ECHO if on else before[3] & ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, [*before[:3], flags, *before[4:]])
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


@contextmanager
def _interruptible(seconds: float = math.inf) -> Iterator[None]:
    """Raise TimeoutError in the block after *seconds*, and KeyboardInterrupt on Ctrl-C, whenever it comes.

    A signal that comes just before readline begins to wait would be seen after the next key only. So Ctrl-C is noted,
    and a beat of the alarm raises; it comes again if it was too early as well. (Two handlers that both raised would
    meet in `input()`, which then fails with SystemError.) Where the system has no alarm, Ctrl-C raises by itself.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return
    end = time.monotonic() + seconds
    pressed = False

    def press(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.setitimer(signal.ITIMER_REAL, _SOON_SECONDS, _BEAT_SECONDS)

    def beat(_number: int, _frame: FrameType | None) -> None:
        if pressed:
            raise KeyboardInterrupt
        if time.monotonic() >= end:
            raise TimeoutError

    alarm = signal.signal(signal.SIGALRM, beat)
    ctrl_c = signal.signal(signal.SIGINT, press)
    try:
        signal.setitimer(signal.ITIMER_REAL, min(_BEAT_SECONDS, max(_SOON_SECONDS, seconds)), _BEAT_SECONDS)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, ctrl_c)
        signal.signal(signal.SIGALRM, alarm)
    if pressed:
        raise KeyboardInterrupt
