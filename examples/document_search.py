"""Document search: answers from a folder of Markdown and text files, and names its sources.

python examples/document_search.py notes/ "When is the rent due?"
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

from gaia_core import Agent, Context, ToolError, Toolset, resource, run, tool

MAX_HITS = 20


@resource()
def folder(root: Path) -> Iterator[Path]:
    """The folder of documents, as an absolute path."""
    yield root.resolve()


def documents(root: Path) -> Iterator[Path]:
    """The documents below *root*, sorted; none that a link leads out to."""
    for path in sorted(root.rglob("*")):
        if path.suffix in (".md", ".txt") and path.resolve().is_relative_to(root) and path.is_file():
            yield path


@tool(effects="read")
def search(ctx: Context[Path], words: str) -> list[str]:
    """Find the lines that contain all words; returns them as `file:line: text`.

    Args:
        words: words that must all be in a line, in any order and case
    """
    wanted = words.lower().split()
    hits = [
        f"{path.relative_to(ctx.resource)}:{number}: {line.strip()}"
        for path in documents(ctx.resource)
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if all(word in line.lower() for word in wanted)
    ]
    if not hits:
        raise ToolError(f"no line has all of {', '.join(wanted)}. Try fewer words, or other forms of them")
    return hits[:MAX_HITS]


def librarian(root: Path) -> Agent:
    """An agent that answers from the documents below *root*."""
    return Agent(
        "librarian",
        instructions="Answer from the documents only, and name file and line of what you used. Search first.",
        tools=Toolset("documents", (search,), resource=folder(root)),
    )


if __name__ == "__main__":
    print(asyncio.run(run(librarian(Path(sys.argv[1])), sys.argv[2])))
