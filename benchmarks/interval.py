"""How sure a median is."""

import math
from collections.abc import Sequence
from typing import TypeVar

_T = TypeVar("_T", int, float)


def interval(values: Sequence[_T]) -> tuple[_T, _T]:
    """The 95% confidence interval of the median of *values*, by order statistics: no assumption about them."""
    ordered = sorted(values)
    half, reach = len(ordered) / 2, 1.96 * math.sqrt(len(ordered)) / 2
    return ordered[max(0, math.floor(half - reach))], ordered[min(len(ordered) - 1, math.ceil(half + reach))]
