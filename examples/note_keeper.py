"""Note keeper: one conversation that continues from run to run, because a journal keeps it.

python examples/note_keeper.py "I moved to Ulm."
python examples/note_keeper.py "Where do I live?"
"""

import asyncio
import os
import sys
from pathlib import Path

from gaia_core import Agent, Catalog, Runtime, load_catalog
from gaia_core.catalog import with_model
from gaia_core.journal.sqlite import SQLiteJournal

KEEPER = Agent("note keeper", instructions="Remember what the user tells you, and answer from it. Be brief.")
SESSION = "notes"


async def say(catalog: Catalog, journal: Path, text: str) -> str:
    """The answer to *text*, in the session that the file *journal* keeps."""
    async with Runtime(catalog, SQLiteJournal(journal)) as runtime:
        session = await runtime.open(KEEPER, SESSION)
        return await runtime.run(session, text)


async def main(text: str) -> None:
    """Say *text*, with the model that `gaia chat` would use."""
    found = await with_model(load_catalog(environ=os.environ, cwd=Path.cwd()), environ=os.environ)
    catalog = Catalog.of(KEEPER, models={spec.name: spec for spec in found.models})
    print(await say(catalog, Path("notes.sqlite"), text))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
