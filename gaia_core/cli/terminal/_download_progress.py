"""How far the embedded model is, on stderr: a progress bar on a terminal, else a line now and then."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gaia_core.models.embedded import State
from gaia_core.visible_text import visible

_STEP_PERCENT = 10


class DownloadProgress:
    """Shows states as they come. Made by `fetching`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._console = progress.console
        self._bar: TaskID | None = None
        self._said = ""
        self._step = -1

    def told(self, state: State) -> None:
        """Show *state*."""
        if state.phase == "fetching" and self._console.is_terminal:
            self._draw(state)
            return
        self._undraw()
        if state.phase == "fetching":
            self._line_of_step(state)
        elif state.phase not in ("idle", "closed", "crashed", "failed"):  # the log reports the last two
            self._line(str(state))

    def _draw(self, state: State) -> None:
        words = visible(f"fetching from {state.source}")
        if self._bar is None:
            self._progress.start()
            self._bar = self._progress.add_task(words, total=state.total or None)
        self._progress.update(self._bar, description=words, completed=state.done, total=state.total or None)

    def _undraw(self) -> None:
        if self._bar is not None:
            self._progress.remove_task(self._bar)
            self._progress.stop()
            self._bar = None

    def _line_of_step(self, state: State) -> None:
        step = (state.percent or 0) // _STEP_PERCENT
        words = f"fetching from {state.source}"
        if words != self._said or step > self._step:
            self._step = step
            self._said = words
            shown = visible(f"embedded model: {step * _STEP_PERCENT} % {words}")
            self._console.print(shown, highlight=False, markup=False, soft_wrap=True)

    def _line(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self._console.print(visible(f"embedded model: {words}"), highlight=False, markup=False, soft_wrap=True)


@contextmanager
def fetching(console: Console | None = None) -> Iterator[DownloadProgress]:
    """What shows states on *console* (default: stderr); it leaves no bar behind."""
    console = console or Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    shown = DownloadProgress(progress)
    try:
        yield shown
    finally:
        progress.stop()


async def show(states: AsyncIterator[State], console: Console | None = None) -> None:
    """Show *states* until they end."""
    with fetching(console) as shown:
        async for state in states:
            shown.told(state)
