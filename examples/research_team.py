"""Research team: an editor that gives questions to a reader, which has tools of its own and strict limits.

python examples/research_team.py notes/ "Write a paragraph about our rent."
"""

import asyncio
import sys
from pathlib import Path

from document_search import librarian
from gaia_core import Agent, Limits, Toolset, run


def editor(root: Path) -> Agent:
    """An agent that writes, and asks a reader for facts: its tool is another agent."""
    reader = Agent(
        "reader",
        instructions="Answer the one question from the documents, with file and line. Say so if they have no answer.",
        tools=librarian(root).tools,
        limits=Limits(steps=6, seconds=120),
    )
    ask_reader = reader.as_tool("ask_reader", "Ask a reader of the documents one question; it knows nothing else.")
    return Agent(
        "editor",
        instructions="Write what the user asks for. Get every fact from the reader, one question at a time.",
        tools=Toolset("team", (ask_reader,)),
    )


if __name__ == "__main__":
    print(asyncio.run(run(editor(Path(sys.argv[1])), sys.argv[2])))
