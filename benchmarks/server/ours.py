"""This project's server as it is served, with one agent on one endpoint. Run: python -m … PORT UPSTREAM_PORT"""

import sys

from gaia_core import Agent, Catalog, Runtime
from gaia_core.catalog import ModelSpec
from gaia_core.models import Endpoint, EndpointConfig
from gaia_http import Settings, create_app
from gaia_http.serve import run


def main(port: int, upstream: int) -> None:
    config = EndpointConfig(url=f"http://127.0.0.1:{upstream}/v1", model="bench")
    spec = ModelSpec("local", open=lambda: Endpoint(config), slots=10_000)
    settings = Settings(port=port)
    run(create_app(settings, Runtime(Catalog.of(Agent("bench"), models={"local": spec}))), settings)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
