"""`gaia replay`: a recorded session against its agent as it is now, without running anything."""

from pathlib import Path

import click

from gaia_core.agent import Agent
from gaia_core.cli._config_option import config_option, read_catalog
from gaia_core.cli._journal_option import find_facts, journal_option, on_journal
from gaia_core.cli._shell_completion import complete_session
from gaia_core.cli.terminal._echo import echo
from gaia_core.errors import GaiaError
from gaia_core.facts import Began
from gaia_core.runtime import Divergence, Replayed, configured
from gaia_core.runtime import replay as replayed

_SIDE_CHARS = 240
_BEFORE_CHARS = 40


class _NotReplayedError(click.ClickException):
    """Nothing was compared: exit code 2, because 1 means a difference."""

    exit_code = 2


@click.command()
@click.argument("session", shell_complete=complete_session)
@click.option("--turn", type=click.IntRange(1), help="Compare only this turn (1: the first).")
@config_option
@journal_option
@click.pass_context
def replay(context: click.Context, session: str, turn: int | None, config: Path | None, journal: str | None) -> None:
    """Show where the recorded SESSION would differ with its agent's current configuration.

    Answers and results are read from the record: no tool runs and no model is called. Compared are the agent's prompt
    and tools, whether each call fits its tool and needs approval, and the messages of each request. Stops at the first
    difference of the conversation. Exit status 0: no difference; 1: a difference; 2: the session can't be replayed.
    """
    try:
        catalog = read_catalog(config)
        info, facts = on_journal(journal, lambda opened: find_facts(opened, session))

        def agent_of(began: Began) -> Agent:
            return configured(catalog, info, began.agent)

        found = replayed(facts, agent_of, turn=turn)
    except GaiaError as error:
        raise _NotReplayedError(str(error)) from error
    for divergence in found.divergences:
        _show(divergence)
    if not found.divergences:
        echo(_same(found))
    context.exit(1 if found.divergences else 0)


def _same(found: Replayed) -> str:
    counts = ((found.turns, "turn"), (found.requests, "model request"), (found.calls, "call"))
    counted = ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts)
    changed = "; the agent is configured otherwise, in what its model is not told" if found.changed else ""
    return f"no divergence: {counted}{changed}"


def _show(divergence: Divergence) -> None:
    """Both sides, from shortly before their first difference."""

    recorded, now = divergence.recorded, divergence.now
    short = max(len(recorded), len(now)) <= _SIDE_CHARS
    pairs = enumerate(zip(recorded, now, strict=False))
    same = next((n for n, (old, new) in pairs if old != new), min(len(recorded), len(now)))
    start = 0 if short else max(0, same - _BEFORE_CHARS)
    echo(f"turn {divergence.turn}, step {divergence.step}, {divergence.what}")
    for name, side in (("recorded", recorded), ("now", now)):
        echo(f"  {name + ':':<10}{_excerpt(side, start)}")


def _excerpt(text: str, start: int) -> str:
    shown = text[start : start + _SIDE_CHARS].replace("\n", "\n            ")
    return f"{'…' if start else ''}{shown}{'…' if len(text) > start + _SIDE_CHARS else ''}"
