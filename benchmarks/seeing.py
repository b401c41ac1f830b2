"""What it costs to be seen: a delta of a turn without an observer, beside the ring alone, and with traces."""

import timeit

from opentelemetry.sdk.trace import TracerProvider

from benchmarks.size import FULL, Size
from benchmarks.table import Row, show
from gaia_core import Agent, Session
from gaia_core.events import TextDelta
from gaia_core.telemetry import OpenTelemetry
from gaia_core.turn import Turn

TIMES, REPEATS = 100_000, 15


class Blind(Turn):
    """A turn as it would be if nobody could observe it."""

    __slots__ = ()

    def emit(self, *events):
        self._ring.add(events)
        if self._readers:
            self.wake()


def cost(turn: Turn, size: Size) -> float:
    """ns a delta."""
    delta = TextDelta("word")
    times = size(TIMES)
    return min(timeit.repeat(lambda: turn.emit(delta), number=times, repeat=size(REPEATS))) / times * 1e9


def main(size: Size = FULL) -> None:
    watching = OpenTelemetry(TracerProvider(shutdown_on_exit=False)).turn(Session("s", Agent("a")), "t")
    floor = cost(Blind("t", "s"), size)
    unobserved, observed = cost(Turn("t", "s"), size), cost(Turn("t", "s", observer=watching), size)
    show(
        "A turn that is seen",
        [
            Row("a delta, nobody observes (floor: no seam)", unobserved, "ns", floor, floor + 100),
            Row("a delta, OpenTelemetry observes (floor: no seam)", observed, "ns", floor),
        ],
    )
