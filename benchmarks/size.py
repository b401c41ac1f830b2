"""How much a table measures: all that its figures need, or as little as shows that it still runs."""

import attrs


@attrs.frozen
class Size:
    """Gives each count of a table. *brief*: the smaller one, which takes a second or two; the figures mean nothing.

    size(1000, brief=10)                      # rounds
    """

    brief: bool = False

    def __call__(self, full: int, brief: int = 1) -> int:
        return brief if self.brief else full


FULL = Size()
