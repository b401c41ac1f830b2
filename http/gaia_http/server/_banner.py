"""What `gaia serve` says when it starts: which model answers, which agents there are, who may ask, what to try."""

from collections.abc import Callable, Iterable
from typing import IO

from gaia_core import Catalog
from gaia_core.catalog import CatalogFault
from gaia_core.models import Model
from gaia_http.keys import Keyring


def greet(
    catalog: Catalog,
    faults: Iterable[CatalogFault],
    url: str,
    keyring: Keyring | None,
    say: Callable[[str], object],
    *,
    at_mcp: bool,
) -> None:
    """Say which model answers, which agents there are, what is wrong, who may ask, and what to try."""
    say(f"gaia serves {url}/v1")
    if at_mcp:
        say(f"  MCP clients: {url}/mcp")
    for model in catalog.models:
        say(f"  model {model.name}: {model.description or model.kind}")
    for agent in sorted(catalog.agents, key=lambda agent: agent.name != catalog.default_agent):
        tools = ", ".join(agent.tools.names) or "none"
        say(f"  agent {agent.name}: tools {tools}")
    for problem in catalog.problems:
        say(f"  problem: {problem.source}: {problem.message}")
    for fault in faults:
        say(f"  problem: {fault.source}: {fault.message}")
    bearer = ""
    if keyring is not None and keyring.required:
        _tell_keys(catalog, keyring, say)
        bearer = " -H 'authorization: Bearer KEY'"
    asked = (
        f'{{"model": "{catalog.default_agent}", "messages": [{{"role": "user", "content": "Which files are here?"}}]}}'
    )
    say(f"Try it:\n  curl {url}/v1/chat/completions -H 'content-type: application/json'{bearer} -d '{asked}'")


def _tell_keys(catalog: Catalog, keyring: Keyring, say: Callable[[str], object]) -> None:
    say(f"  keys: {', '.join(key.name for key in keyring.keys) or 'none, so nobody may enter'}")
    known = {agent.name for agent in catalog.agents}
    for key in keyring.keys:
        if lost := sorted(set(key.agents or ()) - known):
            say(f"  problem: key {key.name}: there is no agent {', '.join(lost)}")


async def show_progress(model: Model, file: IO[str] | None = None) -> None:
    """Show how far the embedded model is, on *file* as lines; None: on stderr, on a terminal with a bar."""
    from gaia_core.cli.terminal._download_progress import show  # noqa: PLC0415  # only where there is one
    from gaia_core.models.embedded import EmbeddedModel  # noqa: PLC0415

    if isinstance(model, EmbeddedModel):
        from rich.console import Console  # noqa: PLC0415  # as the others

        console = Console(file=file, force_terminal=False, width=1_000) if file is not None else None
        await show(model.states(), console)
