"""`gaia sessions`: what the journal keeps of conversations, to look at, search, carry and delete. It needs no server.

A session is named by its id, or by a beginning of it that no other has.
"""

import sys
from pathlib import Path
from uuid import uuid4

import click
import msgspec

from gaia_core.cli._config_option import config_option, read_catalog
from gaia_core.cli._journal_option import OWNER, SHORT_ID, find_facts, find_session, journal_option, on_journal
from gaia_core.cli._shell_completion import complete_agent, complete_session
from gaia_core.cli.terminal._echo import confirm, echo, echo_data
from gaia_core.cli.terminal._table import json_option, print_table
from gaia_core.errors import BusyError, GaiaError
from gaia_core.facts import Damaged, encode_fact
from gaia_core.journal import Journal, SessionInfo, SessionUpdate
from gaia_core.runtime import end_of_turn, is_dead, iso, last_end, read_facts, replica_name, write
from gaia_core.runtime.sessions.export import UNTITLED, export, read_import, shape_of, take_in

_COLUMNS = ("id", "updated", "messages", "agent", "state", "title")
_ENOUGH = 20

_limit_option = click.option(
    "--limit", default=_ENOUGH, show_default=True, type=click.IntRange(1), help="Sessions to list at most."
)
_agent_option = click.option("--agent", "-a", shell_complete=complete_agent, help="Only sessions of this agent.")


@click.group()
def sessions() -> None:
    """List, search, export and delete recorded conversations."""


@sessions.command("list")
@_agent_option
@_limit_option
@journal_option
@json_option
def list_(agent: str | None, limit: int, journal: str | None, as_json: bool) -> None:
    """List sessions, the most recently used first."""
    _list("", agent, limit, journal, as_json=as_json)


@sessions.command()
@click.argument("words", nargs=-1, required=True)
@_agent_option
@_limit_option
@journal_option
@json_option
def search(words: tuple[str, ...], agent: str | None, limit: int, journal: str | None, as_json: bool) -> None:
    """List the sessions whose title or messages contain all of the WORDS."""
    _list(" ".join(words), agent, limit, journal, as_json=as_json)


@sessions.command()
@click.argument("session", shell_complete=complete_session)
@click.option("--json", "as_json", is_flag=True, help="Print the recorded facts, one JSON object a line.")
@journal_option
def show(session: str, as_json: bool, journal: str | None) -> None:
    """Show a conversation, each message after its id."""
    info, facts = on_journal(journal, lambda opened: find_facts(opened, session))
    if as_json:
        for record, fact in facts:
            body = encode_fact(fact) if isinstance(fact, Damaged) else record.body
            line = _FactLine(record.seq, record.parent, record.turn, iso(record.at), msgspec.Raw(body))
            echo(msgspec.json.encode(line).decode())
        return
    from gaia_core.cli.terminal._recorded_conversation import show_conversation
    from gaia_core.cli.terminal._screen import page_here

    show_conversation(facts, info.id, page_here)


@sessions.command("export")
@click.argument("session", shell_complete=complete_session)
@click.option("--format", "kind", default="markdown", show_default=True, type=click.Choice(("markdown", "json")))
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="The file to write. Default: stdout."
)
@config_option
@journal_option
def export_(session: str, kind: str, output: Path | None, config: Path | None, journal: str | None) -> None:
    """Write a conversation as Markdown, or as JSON that `gaia sessions import` reads."""
    catalog = read_catalog(config, ask=False)
    info, facts = on_journal(journal, lambda opened: find_facts(opened, session))
    exported = export(shape_of(catalog, info), facts, as_json=kind == "json")
    text = exported.content or msgspec.json.format(msgspec.json.encode(exported)).decode()
    if output is None:
        echo_data(text.rstrip("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise click.ClickException(f"{output} can't be written: {error.strerror}") from None


@sessions.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@config_option
@journal_option
def import_(file: Path, config: Path | None, journal: str | None) -> None:
    """Create a session from the JSON export in FILE (- for stdin), and print its id.

    Only the messages are imported, not the tool calls. If the agent isn't configured here, the default agent is used.
    """
    catalog = read_catalog(config, ask=False)
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        given = read_import(data)
    except (OSError, GaiaError) as error:
        raise click.ClickException(f"{file}: {error}") from None
    new, said = take_in(catalog, OWNER, given)

    async def keep(opened: Journal) -> None:
        await write(opened, new, said, replica_name())
        if given.session.title_is_custom:
            await opened.update(OWNER, new.id, SessionUpdate(title_is_custom=True))

    on_journal(journal, keep, new=True)
    echo(new.id)


@sessions.command()
@click.argument("session", shell_complete=complete_session)
@click.option("--yes", "-y", is_flag=True, help="Don't ask for confirmation.")
@journal_option
def delete(session: str, yes: bool, journal: str | None) -> None:
    """Erase a session permanently; messages that a fork shares with it stay in the fork."""
    info = on_journal(journal, lambda opened: find_session(opened, session))
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("stdin is not a terminal, so the deletion can't be confirmed: pass --yes")
        confirm(f"Erase {info.id}, {_title(info)!r}, {info.message_count} messages?")

    async def erase(opened: Journal) -> None:
        if info.replica is not None and is_dead(info.replica):  # it needs no time to be given up
            await opened.adopt((info.replica,))
        try:
            await opened.delete(OWNER, info.id)
        except BusyError:
            raise BusyError(
                f"session {info.id} runs a turn in another process ({info.replica}); "
                "end it there, or stop that process, before you delete the session"
            ) from None

    on_journal(journal, erase)


@sessions.command()
@click.argument("session", shell_complete=complete_session)
@click.option("--at", type=click.IntRange(1), metavar="MESSAGE", help="The last message to share. Default: all.")
@journal_option
def fork(session: str, at: int | None, journal: str | None) -> None:
    """Create a session that shares the messages of another one up to a point, and print its id."""

    async def branch(opened: Journal) -> SessionInfo:
        info = await find_session(opened, session)
        upto = None
        if at is not None:
            upto = end_of_turn(await opened.read(OWNER, info.id), at)
        elif info.turn is not None:  # what is not said yet can't be shared
            upto = last_end(await read_facts(opened, OWNER, info.id))
        return await opened.fork(OWNER, info.id, str(uuid4()), upto)

    echo(on_journal(journal, branch).id)


class _FactLine(msgspec.Struct, frozen=True):
    """A fact as `gaia sessions show --json` writes it."""

    seq: int
    parent: int
    turn: str
    at: str
    fact: msgspec.Raw


def _list(query: str, agent: str | None, limit: int, journal: str | None, *, as_json: bool) -> None:
    rows, total = on_journal(journal, lambda opened: opened.list(OWNER, query=query, limit=limit, agent=agent))
    terminal = sys.stdout.isatty() and not as_json
    if terminal and not rows:
        echo("There are no such sessions." if query or agent else "There are no sessions yet.")
        return
    print_table(_COLUMNS, [_row(info, short=terminal) for info in rows], whole=_COLUMNS[:-1], as_json=as_json)
    if terminal and total > len(rows):
        echo(f"{len(rows)} of {total}; --limit shows more")


def _row(info: SessionInfo, *, short: bool) -> tuple[str, ...]:
    from gaia_core.cli.terminal._recorded_conversation import when

    at = when(info.updated_at) if short else iso(info.updated_at)
    state = "running" if info.turn is not None else "idle"
    return info.id[:SHORT_ID] if short else info.id, at, str(info.message_count), info.agent, state, _title(info)


def _title(info: SessionInfo) -> str:
    return info.title or UNTITLED
