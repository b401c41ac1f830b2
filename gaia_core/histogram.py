"""Histograms of seconds, as Prometheus has them: growing counts below bounds."""

from bisect import bisect_left
from collections.abc import Hashable
from itertools import accumulate
from typing import Generic, TypeVar

import attrs

from gaia_core.frozen_types import made_once

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

K = TypeVar("K", bound=Hashable)


@attrs.frozen
class Spread:
    """How many *seconds* were measured *count* times: of *latency*, each is (bound, measured at or below it)."""

    __attrs_pre_init__ = made_once

    count: int
    seconds: float
    latency: tuple[tuple[float, int], ...]


class Histogram:
    """Counts of measured seconds below each of *bounds*. Not locked: one thread adds."""

    __slots__ = ("_bounds", "_buckets", "_seconds")

    def __init__(self, bounds: tuple[float, ...] = BOUNDS) -> None:
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """*seconds* were measured."""
        self._buckets[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    @property
    def spread(self) -> Spread:
        """The counts so far."""
        latency = tuple(zip(self._bounds, accumulate(self._buckets), strict=False))
        return Spread(sum(self._buckets), self._seconds, latency)


class Histograms(Generic[K]):
    """A histogram for each key."""

    def __init__(self) -> None:
        self._by_key: dict[K, Histogram] = {}

    def add(self, key: K, seconds: float) -> None:
        """*seconds* were measured for *key*."""
        found = self._by_key.get(key)
        if found is None:
            found = self._by_key[key] = Histogram()
        found.add(seconds)

    @property
    def spreads(self) -> tuple[tuple[K, Spread], ...]:
        """Each key's counts, in the order of the keys."""
        return tuple((key, found.spread) for key, found in sorted(self._by_key.items(), key=lambda item: str(item[0])))
