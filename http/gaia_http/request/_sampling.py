"""Sampling options: the checks and conversions that the wire protocols share. `Sampling` itself is the core's."""

from gaia_http.request._fields import check_count, check_least

_STOPS = 4


def stop_sequences(path: str, stop: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    """*stop*, if it is not too many sequences. Raises ApiError 400."""
    if isinstance(stop, tuple):
        check_count(path, len(stop), "sequences", _STOPS)
    return stop


def token_limit(path: str, limit: int | None, *, unlimited: int | None = None) -> int | None:
    """The most tokens of an answer; None: no limit, which a protocol may also spell as *unlimited*.

    Raises ApiError 400 for less than 1.
    """
    if limit == unlimited:
        return None
    check_least(path, limit, 1)
    return limit


def logit_bias_of(bias: dict[str, float] | None) -> tuple[tuple[str, float], ...] | None:
    """*bias* by token id, as `Sampling` has it."""
    return tuple(sorted(bias.items())) if bias else None
