"""The embedded model: llama.cpp in a managed child process, for machines where no other model answers.

| module | what lives there |
|---|---|
| `_model` | `EmbeddedModel`: fetches, starts, restarts, answers |
| `_state` | how far it is, as a value |
| `_weights` | which files there are, where they are kept |
| `_weights_choice` | which of them this machine gets |
| `_download` | how it gets there: by one process, from the first source that has it |
| `_weight_sources` | where it can come from |
| `_hub_file` | what a hub says of a file: its hash, size and commit |
| `_shelf` | further models by a short name |
| `_libraries` | what replaces a system library that the runtime needs and this machine lacks |
| `_child_supervisor` | one run of the child, from outside |
| `_fault` | why it ended or can't run, for clients and for the log |
| `_child_process` | the child's program |
"""

from gaia_core.models.embedded._download import in_place
from gaia_core.models.embedded._fault import ChildError, ChildFault
from gaia_core.models.embedded._hub_file import hub_file, hub_weights
from gaia_core.models.embedded._libraries import ReplacementLibrary, load_runtime, replacements
from gaia_core.models.embedded._model import EmbeddedModel
from gaia_core.models.embedded._shelf import SHELF, ShelfModel
from gaia_core.models.embedded._state import State
from gaia_core.models.embedded._weight_sources import Hub, LocalFile, Package, Packages, SourceError, WeightSource
from gaia_core.models.embedded._weights import (
    QWEN_CODER,
    QWEN_CODER_LARGE,
    Weights,
    WeightsError,
    cache_folder,
    checked_file,
    fetch,
    given_path,
    libraries_folder,
    sources_of,
)
from gaia_core.models.embedded._weights_choice import SIZES, EmbeddedSize, WeightsChoice, chosen_weights

__all__ = [
    "QWEN_CODER",
    "QWEN_CODER_LARGE",
    "SHELF",
    "SIZES",
    "ChildError",
    "ChildFault",
    "EmbeddedModel",
    "EmbeddedSize",
    "Hub",
    "LocalFile",
    "Package",
    "Packages",
    "ReplacementLibrary",
    "ShelfModel",
    "SourceError",
    "State",
    "WeightSource",
    "Weights",
    "WeightsChoice",
    "WeightsError",
    "cache_folder",
    "checked_file",
    "chosen_weights",
    "fetch",
    "given_path",
    "hub_file",
    "hub_weights",
    "in_place",
    "libraries_folder",
    "load_runtime",
    "replacements",
    "sources_of",
]
