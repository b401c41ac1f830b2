"""How much work a call does, as a number that no slow or busy machine changes."""

import sys
from collections.abc import Callable


def calls_made(function: Callable[[], object]) -> int:
    """How many calls, of functions in Python and in C, *function* makes in this thread. What it raises is raised."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls
