"""What appending costs, counted by the owner of a journal."""

from gaia_core.histogram import Histogram
from gaia_core.journal._records import JournalStats, NewRecord, size_of

_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class AppendMeter:
    """Counts appends and their groups. No lock: one thread or task writes, and `stats` may be called from any other;
    figures that are read while an append is counted may differ by that append."""

    def __init__(self) -> None:
        self._latency = Histogram(_BOUNDS)
        self._records = self._fenced = self._groups = self._bytes = 0

    def group(self) -> None:
        """A commit of one append or several."""
        self._groups += 1

    def append(self, records: tuple[NewRecord, ...], seconds: float) -> None:
        """An append of *records* that took *seconds* from the call to the commit."""
        self._latency.add(seconds)
        self._records += len(records)
        self._bytes += size_of(records)

    def answer(self, size: int) -> None:
        """An idempotent answer of *size* bytes was kept."""
        self._bytes += size

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
            bytes=self._bytes,
            seconds=spread.seconds,
            latency=spread.latency,
        )
