"""Markdown that is still being written: which of its blocks are settled, and which one may still change.

A block is settled once a complete line begins the next one. Settled blocks are drawn once, so nothing is ever written
twice; only the open block is drawn anew while it grows.
"""

from itertools import pairwise

from markdown_it import MarkdownIt


def parser() -> MarkdownIt:
    """The dialect of chats: tables and strikethrough; HTML is text like any other, for a terminal can't show it."""
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


class GrowingMarkdown:
    """A text that grows, and gives away its settled blocks."""

    def __init__(self) -> None:
        self._parser = parser().disable("inline")
        self.open = ""
        """The part that isn't settled."""

    def add(self, text: str) -> None:
        """Append *text*."""
        self.open += text

    def settle(self) -> tuple[str, ...]:
        """Take out the blocks that can't change any more."""
        # An unfinished line may turn out to be anything: `#` is a heading, `#1` isn't.
        lines = self.open.split("\n")[:-1]
        starts = [
            token.map[0]
            for token in self._parser.parse("\n".join(lines))
            if token.level == 0 and token.nesting >= 0 and token.map is not None
        ]
        cuts = [0, *starts[1:]]
        blocks = tuple("\n".join(lines[a:b]) + "\n" for a, b in pairwise(cuts))
        self.open = self.open[sum(map(len, blocks)) :]
        return blocks

    def end(self) -> tuple[str, ...]:
        """Take out all blocks: nothing more will come."""
        self.open += "\n"
        blocks = self.settle()
        last, self.open = self.open, ""
        return (*blocks, last) if last.strip() else blocks
