"""`gaia import`: conversations that another program keeps, taken into the journal. It needs no server."""

import uuid
from pathlib import Path

import click
import msgspec

from gaia_core.cli._config_option import config_option, read_catalog
from gaia_core.cli._journal_option import OWNER, journal_option, on_journal
from gaia_core.cli.terminal._echo import echo
from gaia_core.errors import GaiaError, NotFoundError
from gaia_core.journal import Journal, SessionUpdate
from gaia_core.runtime import replica_name, write
from gaia_core.runtime.sessions.export import take_in
from gaia_core.runtime.sessions.gaia_database import GaiaSession, read_gaia_database

_NAMESPACE = uuid.UUID("6f1f6f0e-3a0b-5d0c-9c59-5b6d1a1f7a3e")
"""Makes a session's id of GAIA's: one that was imported is known again."""


@click.group("import")
def import_() -> None:
    """Import conversations of other programs."""


@import_.command("gaia-db")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--private", "also_private", is_flag=True, help="Import GAIA's private sessions too.")
@config_option
@journal_option
def gaia_db(file: Path, also_private: bool, config: Path | None, journal: str | None) -> None:
    """Import AMD GAIA's conversations from FILE, a gaia_chat.db (GAIA: ~/.gaia/chat/gaia_chat.db).

    Sessions, their titles, prompts and messages are imported; steps and tool calls are not. The documents that a
    session used are listed: their files stay where they are. A session that was imported before is skipped, so the
    command can be repeated. FILE is not changed.
    """
    catalog = read_catalog(config, ask=False)
    try:
        sessions, documents = read_gaia_database(file)
    except GaiaError as error:
        raise click.ClickException(str(error)) from None

    async def keep(opened: Journal, session: GaiaSession) -> str:
        if session.content.session.private and not also_private:
            return "private, skipped"
        if not session.content.messages:
            return "empty, skipped"
        new, said = take_in(catalog, OWNER, session.content)
        new = msgspec.structs.replace(new, id=str(uuid.uuid5(_NAMESPACE, session.id)))
        try:
            await opened.get(OWNER, new.id)
        except NotFoundError:
            await write(opened, new, said, replica_name())
            await opened.update(OWNER, new.id, SessionUpdate(title_is_custom=session.content.session.title_is_custom))
            return f"{new.id}  {len(said)} messages"
        return f"{new.id}  imported before"

    async def keep_all(opened: Journal) -> list[str]:
        return [f"{await keep(opened, session)}  {session.content.session.title}" for session in sessions]

    for line in on_journal(journal, keep_all, new=True):
        echo(line)
    if documents:
        echo("Documents of GAIA's library (not imported; give their folder to the files toolset as root):")
    for document in documents:
        echo(f"  {document.path}")
