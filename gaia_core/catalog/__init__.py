"""The catalog: the agents and models of a process by name, as one frozen value.

| module | what lives there |
|---|---|
| `_catalog` | `Catalog`, `ModelSpec`, `Problem` |
| `_plugins` | toolset plugins, found by entry points, their arguments checked against their own signatures |
| `_config` | `gaia.toml` → Catalog, a pure function |
| `_default` | what there is without a configuration: the agent, and the model that answers |
"""

from gaia_core.catalog._catalog import Catalog, ModelSpec, Problem
from gaia_core.catalog._config import CONFIG_NAME, load_catalog
from gaia_core.catalog._default import DEFAULT_AGENT, DEFAULT_MODEL, with_model
from gaia_core.catalog._plugins import ENTRY_POINTS, Plugin, find_plugins, make_toolset

__all__ = [
    "CONFIG_NAME",
    "DEFAULT_AGENT",
    "DEFAULT_MODEL",
    "ENTRY_POINTS",
    "Catalog",
    "ModelSpec",
    "Plugin",
    "Problem",
    "find_plugins",
    "load_catalog",
    "make_toolset",
    "with_model",
]
