"""The server under test. Run: python -m benchmarks.soak.serving PORT UPSTREAM_PORT JOURNAL FOLDER"""

import asyncio
import logging
import sys
from pathlib import Path

from gaia_core import Agent, Catalog, ModelSpec, Toolset, tool
from gaia_core.journal.from_url import journal_from_url
from gaia_core.models import EndpointConfig, OpenEndpoints
from gaia_http import Settings
from gaia_http.server.process import listen, loop_factory, run_server

SLOTS, SILENCE_SECONDS = 8, 1.0


@tool(effects="read")
async def look() -> str:
    """Look around."""
    await asyncio.sleep(0.01)
    return "nothing special"


def main(port: int, upstream: int, journal: str, folder: str) -> None:
    logging.basicConfig(level=logging.WARNING)
    config = EndpointConfig(
        url=f"http://127.0.0.1:{upstream}/v1", model="m", silence_timeout=SILENCE_SECONDS, retries=1, backoff=0.02
    )
    agent = Agent("soak", tools=Toolset("t", (look,)))
    catalog = Catalog.of(agent, models={"local": ModelSpec("local", OpenEndpoints((config,)), SLOTS)})
    settings = Settings(port=port, write_seconds=2, heartbeat_seconds=5, data=Path(folder))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run_server(catalog, settings, listen(settings), journal=journal_from_url(journal, {}), say=print))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
