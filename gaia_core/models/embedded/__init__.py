"""The embedded model: llama.cpp in a managed child process, for machines where no other model answers.

| module | what lives there |
|---|---|
| `_model` | `EmbeddedModel`: fetches, starts, restarts, answers |
| `_state` | how far it is, as a value |
| `_weights` | which file, where it is kept, how it gets there |
| `_weight_sources` | where it can come from |
| `_file_lock` | one process fetches |
| `_child_supervisor` | one run of the child, from outside |
| `_child_process` | the child's program |
"""

from gaia_core.models.embedded._model import EmbeddedModel
from gaia_core.models.embedded._state import State
from gaia_core.models.embedded._weight_sources import Hub, LocalFile, Package, Packages, SourceError, WeightSource
from gaia_core.models.embedded._weights import (
    QWEN_CODER,
    Weights,
    WeightsError,
    cache_folder,
    checked_file,
    fetch,
    given_path,
    sources_of,
)

__all__ = [
    "QWEN_CODER",
    "EmbeddedModel",
    "Hub",
    "LocalFile",
    "Package",
    "Packages",
    "SourceError",
    "State",
    "WeightSource",
    "Weights",
    "WeightsError",
    "cache_folder",
    "checked_file",
    "fetch",
    "given_path",
    "sources_of",
]
