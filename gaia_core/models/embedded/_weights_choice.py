"""Which of the two embedded models this machine gets, and what to expect of each.

Measured with `python -m benchmarks questions` (30 questions about a folder; see the README).
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

import attrs

from gaia_core.errors import ConfigError
from gaia_core.frozen_types import made_once, typed
from gaia_core.models.embedded._weights import QWEN_CODER, QWEN_CODER_LARGE, Weights

EmbeddedSize: TypeAlias = Literal["0.5b", "1.5b"]

SIZES: Mapping[EmbeddedSize, Weights] = MappingProxyType({"0.5b": QWEN_CODER, "1.5b": QWEN_CODER_LARGE})
VARIABLE = "GAIA_EMBEDDED_MODEL"

LARGE_MEMORY_BYTES = 6_000_000_000
"""The larger one takes 2.7 GB with four slots; the agent's user has other programs."""
LARGE_DISK_BYTES = 3_000_000_000
"""Its file, and once more while it is made of packages, and some room."""

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@attrs.frozen(field_transformer=typed)
class WeightsChoice:
    """*weights*, *why* those, and what is taken when no source has them."""

    __attrs_pre_init__ = made_once

    weights: Weights
    why: str
    fallback: Weights | None = None


def chosen_weights(
    environ: Mapping[str, str], folder: Path, *, memory: int | None = None, free: int | None = None
) -> WeightsChoice:
    """The weights that GAIA_EMBEDDED_MODEL names (`0.5b` or `1.5b`); else the larger ones where memory and disk allow.

    *memory* of this machine and what is *free* on the disk of the cache *folder*, in bytes; None: looked up. Raises
    ConfigError for another name.
    """
    if named := environ.get(VARIABLE):
        for size, weights in SIZES.items():
            if named.casefold() == size:
                return WeightsChoice(weights, f"{VARIABLE}={size}")
        raise ConfigError(f"{VARIABLE} must be {' or '.join(SIZES)}, not '{named}'")
    memory = memory_bytes() if memory is None else memory
    if memory < LARGE_MEMORY_BYTES:
        return WeightsChoice(QWEN_CODER, f"the 1.5B needs {_gb(LARGE_MEMORY_BYTES)} of memory, here are {_gb(memory)}")
    if not QWEN_CODER_LARGE.is_in(folder):
        free = _free_bytes(folder) if free is None else free
        if free < LARGE_DISK_BYTES:
            return WeightsChoice(QWEN_CODER, f"the 1.5B needs {_gb(LARGE_DISK_BYTES)} of disk, free are {_gb(free)}")
    return WeightsChoice(QWEN_CODER_LARGE, "memory and disk allow the 1.5B", QWEN_CODER)


def memory_bytes() -> int:
    """This machine's memory, or the limit of the control group if that is less; 0 where the system doesn't say."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0
    try:
        limit = _CGROUP_LIMIT.read_text()
    except OSError:
        return total
    return min(total, int(limit)) if limit.strip().isdigit() else total


def _free_bytes(folder: Path) -> int:
    there = next((one for one in (folder, *folder.parents) if one.is_dir()), None)
    try:
        return shutil.disk_usage(there).free if there is not None else 0
    except OSError:
        return 0


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
