"""The shelf: models for the embedded runtime by a short name, with what each needs and its licence.

The two that the server fetches by itself are known by their hash here. Those of the others are the hub's: it says them
when a file is fetched (see `_hub_file`).
"""

import attrs

from gaia_core.frozen_types import made_once, typed
from gaia_core.models.embedded._weight_sources import Hub
from gaia_core.models.embedded._weights import QWEN_CODER, QWEN_CODER_LARGE, Weights


@attrs.frozen(field_transformer=typed)
class ShelfModel:
    """A model by its short *name*. *megabytes* to fetch and *memory* in GB with four slots of 8,192 tokens, both about;
    *weights*, when its hash is known here; else those that *hub* has."""

    __attrs_pre_init__ = made_once

    name: str
    megabytes: int
    memory: float
    licence: str
    words: str
    weights: Weights | None = None
    hub: Hub | None = None


SHELF = (
    ShelfModel("0.5b", 491, 1.0, "Apache-2.0", "Qwen2.5-Coder 0.5B: tiny; the fallback", QWEN_CODER),
    ShelfModel("1.5b", 1_117, 2.7, "Apache-2.0", "Qwen2.5-Coder 1.5B: small; the default", QWEN_CODER_LARGE),
    ShelfModel(
        "qwen3-4b",
        2_500,
        7.5,
        "Apache-2.0",
        "Qwen3 4B: general, reasons first",
        hub=Hub("Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf"),
    ),
    ShelfModel(
        "coder-7b",
        4_680,
        7.0,
        "Apache-2.0",
        "Qwen2.5-Coder 7B: code",
        hub=Hub("Qwen/Qwen2.5-Coder-7B-Instruct-GGUF", "qwen2.5-coder-7b-instruct-q4_k_m.gguf"),
    ),
)
