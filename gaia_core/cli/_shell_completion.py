"""What the shell completes: names of the configuration, and sessions of the journal. What can't be read has none."""

import os
from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from gaia_core.catalog import Catalog, load_catalog
from gaia_core.cli._journal_option import OWNER, SHORT_ID, on_journal
from gaia_core.errors import GaiaError
from gaia_core.journal import Journal, SessionInfo

_SESSIONS = 50


def complete_agent(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The agents of --config, or of this folder."""
    catalog = _catalog(context)
    return _beginning(incomplete, ((agent.name, agent.description) for agent in catalog.agents) if catalog else ())


def complete_model(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The configured models."""
    catalog = _catalog(context)
    return _beginning(incomplete, ((model.name, model.description) for model in catalog.models) if catalog else ())


def complete_session(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The latest sessions, by the beginning of their id, with their titles."""

    async def latest(opened: Journal) -> tuple[SessionInfo, ...]:
        return (await opened.list(OWNER, limit=_SESSIONS))[0]

    try:
        found = on_journal(context.params.get("journal"), latest)
    except (GaiaError, OSError):
        return []
    return _beginning(incomplete, ((info.id[:SHORT_ID], info.title) for info in found))


def _catalog(context: click.Context) -> Catalog | None:
    try:
        return load_catalog(context.params.get("config"), environ=os.environ, cwd=Path.cwd(), locked=False)
    except (GaiaError, OSError):
        return None


def _beginning(start: str, named: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    return [CompletionItem(name, help=" ".join(words.split())) for name, words in named if name.startswith(start)]
