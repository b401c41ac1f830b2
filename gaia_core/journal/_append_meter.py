"""What appending costs, counted by whoever owns a journal."""

from gaia_core.histogram import Histogram
from gaia_core.journal._contract import JournalStats

_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class AppendMeter:
    """Counts appends and their groups; not locked, so each is called from one thread."""

    def __init__(self) -> None:
        self._latency = Histogram(_BOUNDS)
        self._records = self._fenced = self._groups = self._largest = 0

    def group(self, size: int) -> None:
        """A commit of *size* appends."""
        self._groups += 1
        self._largest = max(self._largest, size)

    def append(self, records: int, seconds: float) -> None:
        """An append of *records* that took *seconds* from the call to the commit."""
        self._latency.add(seconds)
        self._records += records

    def fenced(self) -> None:
        """An append that met the fence."""
        self._fenced += 1

    def stats(self) -> JournalStats:
        """The figures so far."""
        spread = self._latency.spread
        return JournalStats(
            appends=spread.count,
            records=self._records,
            fenced=self._fenced,
            groups=self._groups,
            largest_group=self._largest,
            seconds=spread.seconds,
            latency=spread.latency,
        )
