"""Max-min fair shares of a limit: nobody gets more than it wants, and nobody could get more without taking it from
somebody who has no more.

Every heartbeat computes shares, but nothing asks for any yet (`SlotDemand`): the shares over several replicas are a
later issue.
"""

from gaia_core.journal._records import SlotDemand, SlotGrant


def max_min(limit: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Whole shares of *limit*, in the order of *wanted*; what can't be split goes to the later of equals."""
    shares = [0] * len(wanted)
    left = max(0, limit)
    for place, index in enumerate(sorted(range(len(wanted)), key=lambda i: wanted[i])):
        shares[index] = min(max(0, wanted[index]), left // (len(wanted) - place))
        left -= shares[index]
    return tuple(shares)


def grants(
    replica: str,
    wanted: tuple[SlotDemand, ...],
    others: tuple[tuple[str, tuple[SlotDemand, ...], tuple[SlotGrant, ...]], ...],
) -> tuple[SlotGrant, ...]:
    """What *replica* may use now: its share among all who want, and no more than what is left of the limit while
    the *others* (name, wanted, granted; all alive) still hold theirs."""
    given: list[SlotGrant] = []
    for want in wanted:
        claims = [(replica, want.slots)]
        held = 0
        for name, their_wanted, their_grants in others:
            claims += [(name, each.slots) for each in their_wanted if each.model == want.model]
            held += sum(each.slots for each in their_grants if each.model == want.model)
        claims.sort()
        shares = max_min(want.limit, tuple(slots for _, slots in claims))
        share = next(share for (name, _), share in zip(claims, shares, strict=True) if name == replica)
        given.append(SlotGrant(want.model, max(0, min(share, want.limit - held))))
    return tuple(given)
