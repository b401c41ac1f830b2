"""Max-min fair shares of a limit: nobody gets more than it wants, and nobody could get more without taking it from
somebody who has no more."""


def max_min(limit: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Whole shares of *limit*, in the order of *wanted*; what can't be split goes to the later of equals."""
    shares = [0] * len(wanted)
    left = max(0, limit)
    for place, index in enumerate(sorted(range(len(wanted)), key=lambda i: wanted[i])):
        shares[index] = min(max(0, wanted[index]), left // (len(wanted) - place))
        left -= shares[index]
    return tuple(shares)


def granted(limit: int, replica: str, wanted: tuple[tuple[str, int], ...], held: int) -> int:
    """What *replica* may use now: its share among *wanted* (slots by replica), and no more than what is left of the
    limit while the others still hold *held*."""
    ordered = tuple(sorted(wanted))
    shares = max_min(limit, tuple(slots for _, slots in ordered))
    share = next(share for (name, _), share in zip(ordered, shares, strict=True) if name == replica)
    return max(0, min(share, limit - held))
