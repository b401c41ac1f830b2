"""The catalog: the agents and models of a process by name, as one frozen value.

| module | what lives there |
|---|---|
| `_catalog` | `Catalog`, `ModelSpec`, `CatalogProblem` |
| `_plugins` | toolset plugins, found by entry points, their arguments checked against their own signatures |
| `_load_config` | `gaia.toml` → Catalog, a pure function |
| `_config_tables`, `_compose_agents` | what that file may say; its agents, composed of their toolsets |
| `_faults` | what of a catalog can't work now: endpoints, keys, folders |
| `_retention` | `Retention`: how long and how much of what clients store is kept |
| `_lock_file` | `gaia.lock`: what was reviewed of tools, and what is refused |
| `_storage_quota` | how much an owner may keep |
| `_default_catalog` | what there is without a configuration: the agent, and the model that answers |
"""

from gaia_core.catalog._catalog import Catalog, CatalogProblem, ModelSpec, models_of
from gaia_core.catalog._default_catalog import DEFAULT_AGENT, DEFAULT_MODEL, with_model
from gaia_core.catalog._faults import CatalogFault, faults_of
from gaia_core.catalog._load_config import CONFIG_NAME, EMBEDDED_KEYS, load_catalog
from gaia_core.catalog._lock_file import (
    LOCK_NAME,
    Lock,
    LockedTool,
    LockedTools,
    decode_lock,
    lock_changes,
    locked_tools,
    read_lock,
    refusal,
    write_lock,
)
from gaia_core.catalog._plugins import ENTRY_POINTS, Plugin, find_plugins, make_toolset
from gaia_core.catalog._retention import Retention
from gaia_core.catalog._storage_quota import LIMITED, UNLIMITED, StorageLimits, StorageQuota

__all__ = [
    "CONFIG_NAME",
    "DEFAULT_AGENT",
    "DEFAULT_MODEL",
    "EMBEDDED_KEYS",
    "ENTRY_POINTS",
    "LIMITED",
    "LOCK_NAME",
    "UNLIMITED",
    "Catalog",
    "CatalogFault",
    "CatalogProblem",
    "Lock",
    "LockedTool",
    "LockedTools",
    "ModelSpec",
    "Plugin",
    "Retention",
    "StorageLimits",
    "StorageQuota",
    "decode_lock",
    "faults_of",
    "find_plugins",
    "load_catalog",
    "lock_changes",
    "locked_tools",
    "make_toolset",
    "models_of",
    "read_lock",
    "refusal",
    "with_model",
    "write_lock",
]
