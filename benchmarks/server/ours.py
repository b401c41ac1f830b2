"""This project's server as it is served, with one agent on one endpoint.

Run: python -m … PORT UPSTREAM_PORT [JOURNAL [SLOTS QUEUE]]. JOURNAL is a SQLite file, or `memory`, the default.
"""

import asyncio
import sys

from gaia_core import Agent, Catalog, ModelSpec
from gaia_core.journal.from_url import journal_from_url
from gaia_core.models import Endpoint, EndpointConfig
from gaia_http import Settings
from gaia_http.server.process import listen, loop_factory, run_server


def main(port: int, upstream: int, journal: str = "memory", slots: int = 10_000, queue: int = 256) -> None:
    config = EndpointConfig(url=f"http://127.0.0.1:{upstream}/v1", model="bench")
    spec = ModelSpec("local", open=lambda: Endpoint(config), slots=slots, queue=queue)
    catalog = Catalog.of(Agent("bench"), models={"local": spec})
    settings = Settings(port=port)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(
            run_server(
                catalog, settings, listen(settings), journal=journal_from_url(journal, {}), say=lambda _line: None
            )
        )


if __name__ == "__main__":
    ports, journal, bounds = map(int, sys.argv[1:3]), sys.argv[3:4], map(int, sys.argv[4:])
    main(*ports, *journal, *bounds)
