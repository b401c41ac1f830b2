"""`gaia chat`: a conversation in the terminal on a Runtime in this process, or the answer to one message."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from gaia_core.catalog import with_model
from gaia_core.cli._config_option import config_option, read_catalog
from gaia_core.cli._journal_option import journal_option
from gaia_core.cli._shell_completion import complete_agent, complete_model, complete_session
from gaia_core.cli.terminal._echo import VisibleFormatter
from gaia_core.cli.terminal._event_loop_thread import background
from gaia_core.journal.from_url import data_folder, journal_from_url

HISTORY_NAME = "chat_history"
"""In the data folder: what was typed at the prompt."""


@click.command()
@click.argument("message", required=False)
@click.option(
    "--agent",
    "-a",
    shell_complete=complete_agent,
    help="The agent to talk to. Default: the configuration's default agent.",
)
@click.option(
    "--model",
    "-m",
    shell_complete=complete_model,
    help="The configured model to ask (see gaia model list). Default: the agent's.",
)
@click.option(
    "--session",
    "-s",
    shell_complete=complete_session,
    help="Continue this session: its id, or a unique beginning of it.",
)
@click.option("--private", is_flag=True, help="Don't record the conversation.")
@config_option
@journal_option
@click.option("--verbose", "-v", is_flag=True, help="Log to stderr, with the tracebacks of failed tools.")
def chat(
    message: str | None,
    agent: str | None,
    model: str | None,
    session: str | None,
    private: bool,  # click passes these by name
    config: Path | None,
    journal: str | None,
    verbose: bool,
) -> None:
    """Talk to an agent, or ask it one MESSAGE.

    Without MESSAGE, at a terminal, it starts a conversation: Ctrl-C cancels the current answer, Ctrl-D exits. Piped
    input is put before MESSAGE: `git diff | gaia chat "Review this"`. The conversation is recorded as a new session:
    --session continues it later, `gaia sessions` lists it. Exits with status 1 if the answer is not complete.
    """
    from gaia_core.cli.terminal._conversation import conversation  # with rich, which `gaia --help` needs not import
    from gaia_core.cli.terminal._dialogue import dialogue
    from gaia_core.cli.terminal._screen import screen_here

    if private and (session is not None or journal is not None):
        raise click.UsageError("--private records nothing; it can't be combined with --session or --journal")
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    piped = "" if at_terminal or sys.stdin is None else sys.stdin.read()
    asked = "\n\n".join(part.strip() for part in (piped, message or "") if part.strip())
    if not asked and (message is not None or not at_terminal):
        raise click.UsageError(
            "the message is empty: pass it as an argument or on stdin, or start gaia chat at a terminal"
        )
    catalog = read_catalog(config, ask=False)
    kept = None if private else journal_from_url(journal, os.environ)
    here = screen_here()
    with _logging(verbose=verbose), background() as loop:
        catalog = loop.run(with_model(catalog, environ=os.environ))
        with conversation(
            *(loop, catalog, agent, here),
            interactive=at_terminal,
            journal=kept,
            session=session,
            model=model,
            history=None if private else data_folder(os.environ) / HISTORY_NAME,
        ) as talk:
            code = talk.once(asked) if asked else dialogue(talk)
    sys.exit(code)


@contextmanager
def _logging(*, verbose: bool) -> Iterator[None]:
    """Log to stderr if *verbose*, else nowhere: a traceback in the middle of an answer disturbs."""
    handler = logging.StreamHandler(sys.stderr) if verbose else logging.NullHandler()
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
