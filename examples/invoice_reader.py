"""Invoice reader: text in, a validated value out.

python examples/invoice_reader.py invoice.txt
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import attrs

from gaia_core import Agent, doc, run


@attrs.frozen
class Line:
    """One line of an invoice."""

    text: str
    cents: Annotated[int, doc("The line's amount in cents")]


@attrs.frozen
class Invoice:
    """An invoice. The total must be the sum of the lines; if it is not, the model corrects it."""

    number: str
    lines: list[Line]
    total_cents: int

    def __attrs_post_init__(self) -> None:
        if (total := sum(line.cents for line in self.lines)) != self.total_cents:
            raise ValueError(f"total_cents is {self.total_cents}, and the lines' sum is {total}")


READER = Agent("invoice reader", instructions="Read the invoice. Amounts are in cents. Invent nothing.")


def main(path: str) -> None:
    """Print the invoice in the file *path*."""
    invoice = asyncio.run(run(READER, Path(path).read_text(encoding="utf-8"), answer=Invoice))
    for line in invoice.lines:
        print(f"{line.cents / 100:10.2f}  {line.text}")
    print(f"{invoice.total_cents / 100:10.2f}  total of {invoice.number}")


if __name__ == "__main__":
    main(sys.argv[1])
