"""This project's server as it is served, with one agent on one endpoint. Run: python -m … PORT UPSTREAM_PORT [JOURNAL]

JOURNAL is a SQLite file; without one, sessions are in memory.
"""

import asyncio
import sys

from gaia_core import Agent, Catalog, ModelSpec
from gaia_core.journal.place import journal_at
from gaia_core.models import Endpoint, EndpointConfig
from gaia_http import Settings
from gaia_http.serve import listen, loop_factory, run_server


def main(port: int, upstream: int, journal: str = "memory") -> None:
    config = EndpointConfig(url=f"http://127.0.0.1:{upstream}/v1", model="bench")
    spec = ModelSpec("local", open=lambda: Endpoint(config), slots=10_000)
    catalog = Catalog.of(Agent("bench"), models={"local": spec})
    settings = Settings(port=port)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(
            run_server(catalog, settings, listen(settings), journal=journal_at(journal, {}), say=lambda _line: None)
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
